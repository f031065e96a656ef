# cython: language_level=3
# cython: freethreading_compatible=True, auto_pickle=False, autotestdict=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""Python objects and numpy arrays on one side, the C core on the other.

Each part checks its arguments, gets a pointer, calls the core and wraps what comes back. Loops over
runs, pixels or masks are in ``core/``. The parts, in reading order:
"""

import operator
import os
from collections.abc import Mapping
from functools import partial

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.pycapsule cimport PyCapsule_New
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport INT64_MAX, UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from klingmask.core.klingmask cimport *

cnp.import_array()

include "_cy/errors.pxi"      # RLEError, and the texts of its messages
include "_cy/calling.pxi"     # SIMD level, GIL, interruption, threads
include "_cy/memory.pxi"      # blocks for runs and pixels, the pixel limit
include "_cy/reading.pxi"     # numbers, sizes and rles to the core's structs
include "_cy/pixels.pxi"      # arrays from masks, masks from arrays
include "_cy/mask.pxi"        # Mask
include "_cy/mask_array.pxi"  # MaskArray
include "_cy/functions.pxi"   # decode, encode, area, ... without objects
include "_cy/drawing.pxi"     # functions that klingmask.overlay calls
