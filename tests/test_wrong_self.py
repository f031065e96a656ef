"""Methods and properties taken from a class and called on something else: a TypeError.

Methods read C fields of `self` at fixed offsets: an object of another type there could crash the
process. So the calls are made in a process of their own.
"""

import subprocess
import sys

import klingmask as km
from klingmask import _rle

RLE = {"size": [2, 2], "counts": "4"}
MASK = km.Mask.from_rle(RLE)
MASKS = km.MaskArray.from_rles([RLE])
OTHERS = [RLE, None, (MASK,), [MASK], 5, "text", object(), RLE["counts"], MASK, MASKS]
ARGUMENTS = [
    *[(), (MASK,), (MASKS,), (1,), (1, 1), (1, 1, 1, 1), ((0, 0, 1, 1),), ("C", "uint8")],
]

# What these take is a class, not an instance.
OF_A_CLASS = {"__new__", "__init_subclass__", "__subclasshook__"}


def extension_types() -> list[type]:
    """All that the extension defines in C, public or not."""
    return [
        value
        for value in vars(_rle).values()
        if isinstance(value, type)
        and value.__module__ == _rle.__name__
        and value is not km.RLEError
    ]


def call_everything() -> None:
    """Print every call that does not raise; may end the process."""
    n = 0
    for cls in extension_types():
        for name, member in vars(cls).items():
            if isinstance(member, staticmethod) or name in OF_A_CLASS:
                continue
            for other in OTHERS:
                if isinstance(other, cls):
                    continue
                if callable(member):
                    calls = [(member, (other, *rest)) for rest in ARGUMENTS]
                elif hasattr(member, "__get__"):
                    calls = [(member.__get__, (other, type(other)))]
                else:
                    continue
                for call, arguments in calls:
                    n += 1
                    # The last line of a process that ends names the call.
                    last = f"{cls.__name__}.{name}{arguments!r:.200}"
                    sys.stdout.write(last + "\n")
                    sys.stdout.flush()
                    try:
                        call(*arguments)
                    except TypeError:
                        continue
                    if other is None and not callable(member):
                        continue  # the descriptor itself, as for an access on the class
                    sys.stderr.write(f"no TypeError: {last}\n")
    sys.stdout.write(f"calls: {n}\n")


def test_every_method_and_property_refuses_another_self() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import call_everything; call_everything()"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *_, last = done.stdout.splitlines() or [""]
    assert done.returncode == 0, f"ended by signal {-done.returncode} in {last}"
    assert done.stderr == ""
    name, _, n = last.partition(": ")
    assert name == "calls"
    assert int(n) > 1000


def test_the_types_are_found() -> None:
    assert {km.Mask, km.MaskArray} <= set(extension_types())
