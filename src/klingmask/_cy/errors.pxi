# RLEError, and the texts of its messages.
#
# The byte or run in a message is found by the core (`fail` in core/counts.c). Two kinds of defects
# do not reach the core, and reading.pxi says where they are: a character outside ASCII, and a run
# length that does not fit 32 bits.


class RLEError(ValueError):
    """A mask that cannot be read, or masks of different sizes in one call.

    Attributes
    ----------
    position : int or None
        Where in the counts the defect is: the byte of a text, or the index in a list of run
        lengths.
    index : int or None
        Which rle of a list has the defect.

    Examples
    --------
    >>> try:
    ...     klingmask.area([{"size": [4, 4], "counts": "1!"}])
    ... except klingmask.RLEError as error:
    ...     print(error)
    ...     print(error.index, error.position)
    rles[0]: byte 1: the character '!' is outside 48..111 ('0'..'o')
    0 1
    """

    def __init__(self, message, position=None, index=None):
        super().__init__(message)
        self.position = position
        self.index = index

    def __reduce__(self):
        return type(self), (self.args[0], self.position, self.index)


def _shown(value):
    """A value as error messages show it: its repr, but short.

    Python refuses to write integers of more than 4,300 digits; those are given as a power of 2.
    """
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return f"{'-' if value < 0 else ''}2**{abs(value).bit_length() - 1} or more"
    try:
        text = repr(value)
    except Exception:  # such an integer is inside of a list, or the caller's __repr__ raised
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:197]}..."


cdef object _too_large(object h, object w):
    return RLEError(
        f"size ({_shown(h)}, {_shown(w)}) has {_shown(h * w)} pixels; "
        "the format ends at 2**32 - 1"
    )


cdef object _defect(const km_failure *failure, const km_rle *source):
    """Make the RLEError for a failure that the core reported."""
    pixels = f"{source.height} x {source.width} = {<uint64_t>source.height * source.width}"
    if failure.fault == KM_BAD_CHARACTER:
        reason = f"the character {chr(failure.value)!r} is outside 48..111 ('0'..'o')"
    elif failure.fault == KM_CUT_CODE:
        reason = "the text ends inside a code"
    elif failure.fault == KM_LONG_CODE:
        reason = "a code with more characters than its run needs"
    elif failure.fault == KM_NEGATIVE_RUN:
        reason = f"a run of {failure.value} pixels"
    elif failure.fault == KM_OVERSHOOT:
        reason = f"the runs add up to {failure.value}, past the {pixels} pixels of size"
    else:
        reason = (
            f"the counts end with {failure.value} of the {pixels} pixels of size; "
            "strict=False would take the missing tail as background"
        )
    unit = "run" if source.chars is NULL else "byte"
    return RLEError(f"{unit} {failure.position}: {reason}", position=failure.position)


cdef object _in_list(size_t i, error):
    """The same error, with the index of the rle in a list added."""
    if isinstance(error, RLEError):
        return RLEError(f"rles[{i}]: {error}", position=error.position, index=i)
    return TypeError(f"rles[{i}]: {error}")


cdef object _size_differs(const km_mask *first, uint32_t height, uint32_t width, size_t i):
    return RLEError(
        f"the masks must have one size: mask 0 has ({first.height}, {first.width}), "
        f"mask {i} has ({height}, {width})",
        index=i,
    )


cdef int _require_one_size(const km_mask *masks, size_t n) except -1:
    cdef size_t i = km_count_same_size(masks, n)
    if i < n:
        raise _size_differs(masks, masks[i].height, masks[i].width, i)
    return 0


cdef int _require_same_size(const km_mask *pair) except -1:
    """Refuse two masks of different sizes that are not of one list."""
    if km_count_same_size(pair, 2) < 2:
        raise RLEError(
            f"the masks must have one size, got ({pair[0].height}, {pair[0].width}) and "
            f"({pair[1].height}, {pair[1].width})"
        )
    return 0


_FOR_PIXELS = "; Mask.from_numpy(array) and MaskArray.from_numpy(stack) take pixels"
