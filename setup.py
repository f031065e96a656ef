"""The one extension; everything else about the package is in pyproject.toml."""

from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = Path("src/klingmask/core")
PARTS = Path("src/klingmask/_cy")


class BuildExt(build_ext):
    """Says C11 and full optimisation in the words of the compiler at hand."""

    def build_extensions(self) -> None:
        """Add the options, then build."""
        msvc = self.compiler.compiler_type == "msvc"
        for extension in self.extensions:
            extension.extra_compile_args = (
                ["/std:c11", "/O2"] if msvc else ["-std=c11", "-O3", "-g0"]
            )
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "klingmask._rle",
            ["src/klingmask/_rle.pyx", *sorted(str(source) for source in CORE.rglob("*.c"))],
            include_dirs=[str(CORE), numpy.get_include()],
            depends=sorted(
                str(part)
                for folder, ending in [(CORE, "h"), (CORE, "inc"), (CORE, "pxd"), (PARTS, "pxi")]
                for part in folder.rglob(f"*.{ending}")
            ),
            define_macros=[
                (name, "NPY_2_0_API_VERSION")
                for name in ("NPY_NO_DEPRECATED_API", "NPY_TARGET_VERSION")
            ],
        )
    ],
)
