/* What the files of the levels have in common. Nothing outside simd/ includes this.
 *
 * A level is one file or more (avx2.c, avx2_codes.c). Each file holds kernels as static functions
 * that bear the names of the table's fields, and ends with a table of those that it has.
 * dispatch.c lays the tables of a level over those of the levels below it.
 */
#ifndef KLINGMASK_SIMD_LEVEL_H
#define KLINGMASK_SIMD_LEVEL_H

#include "simd/simd.h"

/* ---- which levels there are ---- */

/* AVX2 and AVX-512 are compiled where the compiler takes instruction sets function by function:
 * setup.py gives one set of options to all files. Where they are not, their files are empty. */
#if defined(__GNUC__) && defined(__x86_64__)
#define KM_X86_LEVELS 1
#else
#define KM_X86_LEVELS 0
#endif

/* The kernels that each file has; NULL in the other fields. */
extern const km_kernels km_scalar, km_avx2, km_avx2_codes, km_avx512, km_avx512_codes;

/* ---- instruction sets ---- */

/* What stands between the two lines is compiled for these instruction sets as well:
 *
 *     KM_TARGET_BEGIN("avx2,bmi")
 *     ...
 *     KM_TARGET_END
 *
 * The headers of the system come before the first line. MSVC would need neither line, for it
 * compiles all intrinsics in all functions. */
#define KM_PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define KM_TARGET_BEGIN(sets)                                                                      \
    KM_PRAGMA(clang attribute push(__attribute__((target(sets))), apply_to = function))
#define KM_TARGET_END KM_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define KM_TARGET_BEGIN(sets) KM_PRAGMA(GCC push_options) KM_PRAGMA(GCC target(sets))
#define KM_TARGET_END KM_PRAGMA(GCC pop_options)
#endif

/* AVX2 and what else every processor with AVX2 has. AVX-512 as of Ice Lake and Zen 4. dispatch.c
 * asks for each of these. */
#define KM_AVX2_SETS "avx2,bmi,bmi2,popcnt,lzcnt"
#define KM_AVX512_SETS                                                                             \
    KM_AVX2_SETS ",avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx512vpopcntdq"

/* ---- kernels ---- */

/* Before each kernel: it starts where a cache line does. Otherwise the functions before it in the
 * file decide how fast its loops are, by some 5 %. */
#if defined(__GNUC__)
#define KM_KERNEL __attribute__((aligned(KM_LINE)))
#define KM_NOINLINE __attribute__((noinline))
#else
#define KM_KERNEL
#define KM_NOINLINE
#endif

/* ---- memory ---- */

/* Pixels are read once, from memory that may be slow to answer. Where it is read as one stream,
 * the kernel asks for what it will look at in so many bytes: processors do that of their own
 * accord, but not over the end of a page. */
enum { PREFETCH_AHEAD_BYTES = 9216 };

static inline void prefetch_ahead_of(const void *address)
{
#if defined(__GNUC__)
    __builtin_prefetch((const void *)((uintptr_t)address + PREFETCH_AHEAD_BYTES));
#else
    (void)address;
#endif
}

/* What is skipped or cleared as KM_PLACES streams at once. */
enum { INTERLEAVED_BYTES = KM_PLACES * KM_LONG };

#endif
