/* The choice of the kernels, once, at run time. */
#include "simd/level.h"
#include "simd/shuffles.h"

#include <string.h>

#if KM_X86_LEVELS
#include <cpuid.h>
#endif

km_kernels km_simd;

/* ---- what the processor has ---- */

static bool always(void)
{
    return true;
}

#if KM_X86_LEVELS

/* LZCNT as AMD's processors had it first; without it the instruction would run as another, and
 * wrongly. Not all compilers know it by name. */
static bool has_lzcnt(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1 << 5);
}

static bool has_avx2(void)
{
    return has_lzcnt() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq");
}

#else

static bool has_avx512(void)
{
    return false;
}

#endif

/* ---- the levels ---- */

/* From the lowest up. A processor that has a level has all those below it. */
typedef struct {
    const char *name;
    bool (*is_there)(void);
    const km_kernels *tables[2]; /* of its files; NULL behind the last */
} level;

static const level levels[] = {
    {"scalar", always, {&km_scalar}},
/* The place of a level with vectors of 128 bits, for older x86 and for ARM. */
#if KM_X86_LEVELS
    {"avx2", has_avx2, {&km_avx2, &km_avx2_codes}},
    {"avx512", has_avx512, {&km_avx512, &km_avx512_codes}},
#endif
};

enum { LEVELS = sizeof levels / sizeof *levels };

/* All kernels by name. A new one is added here. */
#define KM_EACH_KERNEL(do_with)                                                                    \
    do_with(pack_rows) do_with(skip_clear) do_with(transpose_rows) do_with(list_line)              \
        do_with(write_dense) do_with(paint) do_with(clear) do_with(fill) do_with(read_codes)       \
            do_with(rows_of) do_with(write_codes) do_with(set_runs) do_with(blend) do_with(stamp)  \
                do_with(count_shared) do_with(overlap)

#define KM_COUNT(kernel) +1
_Static_assert(sizeof(km_kernels) == offsetof(km_kernels, pack_rows) +
                                         (0 KM_EACH_KERNEL(KM_COUNT)) * sizeof(void (*)(void)),
               "each kernel of the table is in KM_EACH_KERNEL");

/* What the table has takes the place of what a lower level had. */
static void lay_over(km_kernels *kernels, const km_kernels *table)
{
#define KM_TAKE(kernel)                                                                            \
    if (table->kernel)                                                                             \
        kernels->kernel = table->kernel;
    KM_EACH_KERNEL(KM_TAKE)
}

bool km_simd_select(const char *name)
{
    size_t there = 0, wanted;
    while (there < LEVELS && levels[there].is_there())
        there++;
    for (wanted = there; wanted > 0; wanted--)
        if (!name || strcmp(name, levels[wanted - 1].name) == 0)
            break;
    if (wanted == 0)
        return false;
    km_kernels kernels = {.name = levels[wanted - 1].name, .in_turns = !has_avx512()};
    for (size_t i = 0; i < wanted; i++)
        for (size_t j = 0; j < 2 && levels[i].tables[j]; j++)
            lay_over(&kernels, levels[i].tables[j]);
    km_fill_shuffles();
    km_simd = kernels;
    return true;
}
