"""`python -m tests.harm`: the real service, after the modules that `HARM` names have prepared what will befall it.

Each of these harms from outside: it fails what the operating system is asked for, or kills the process at a moment.
"""

import importlib
import os
import sys

from app.__main__ import main

for name in os.environ["HARM"].split(","):
    importlib.import_module(name)

sys.exit(main())
