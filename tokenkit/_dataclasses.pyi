# What is made at run time is to its users what the standard library makes; tests/test_dataclasses.py holds it to that.
from dataclasses import KW_ONLY as KW_ONLY
from dataclasses import dataclass as dataclass
from dataclasses import field as field
from dataclasses import replace as replace
