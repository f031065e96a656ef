/* Shared by the files of the levels. Nothing outside simd/ includes this.
 *
 * A level is one file or more (avx2.c, avx2_codes.c). Its kernels are static functions with the
 * names of the table's fields, and each file ends with a table of its kernels. dispatch.c fills
 * km_simd from the lowest level up, so a level needs only the kernels that are faster than those
 * below.
 */
#ifndef KLINGMASK_SIMD_LEVEL_H
#define KLINGMASK_SIMD_LEVEL_H

#include "simd/simd.h"

/* The tables of the files. A kernel that a file does not have is NULL. */
extern const km_kernels km_scalar, km_avx2, km_avx2_codes, km_avx512, km_avx512_codes;

/* AVX2 and AVX-512 are built where the compiler lets a file name the instruction sets of its
 * functions, because setup.py has one set of options for all files. Elsewhere these files are
 * empty. */
#if defined(__GNUC__) && defined(__x86_64__)
#define KM_X86_LEVELS 1
#else
#define KM_X86_LEVELS 0
#endif

/* Functions between the two lines are compiled for more instruction sets:
 *
 *     KM_TARGET_BEGIN("avx2,bmi")
 *     ...
 *     KM_TARGET_END
 *
 * The system's headers are included before the first line. MSVC would need neither: it compiles any
 * intrinsic in any function. */
#define KM_PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define KM_TARGET_BEGIN(sets)                                                                      \
    KM_PRAGMA(clang attribute push(__attribute__((target(sets))), apply_to = function))
#define KM_TARGET_END KM_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define KM_TARGET_BEGIN(sets) KM_PRAGMA(GCC push_options) KM_PRAGMA(GCC target(sets))
#define KM_TARGET_END KM_PRAGMA(GCC pop_options)
#endif

/* AVX2 and the other sets of every processor with AVX2; AVX-512 as of Ice Lake and Zen 4.
 * dispatch.c asks the processor for each set. */
#define KM_AVX2_SETS "avx2,bmi,bmi2,popcnt,lzcnt"
#define KM_AVX512_SETS                                                                             \
    KM_AVX2_SETS ",avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx512vpopcntdq"

/* KM_KERNEL stands before each kernel: its code starts a cache line. Without it, the size of the
 * functions before it in the file changes the speed of its loops by some 5 %. */
#if defined(__GNUC__)
#define KM_KERNEL __attribute__((aligned(KM_CACHE_LINE)))
#define KM_NOINLINE __attribute__((noinline))
#else
#define KM_KERNEL
#define KM_NOINLINE
#endif

/* ---- memory ---- */

/* Processors prefetch ahead of a stream of reads, but not across the end of a page. So kernels that
 * read pixels as one stream prefetch this many bytes ahead, more than two pages. */
enum { PREFETCH_AHEAD_BYTES = 9216 };

static inline void prefetch_ahead_of(const void *address)
{
#if defined(__GNUC__)
    __builtin_prefetch((const void *)((uintptr_t)address + PREFETCH_AHEAD_BYTES));
#else
    (void)address;
#endif
}

/* The bytes that all streams together read or clear in one round. */
enum { INTERLEAVED_BYTES = KM_STREAMS * KM_STREAM_BYTES };

#endif
