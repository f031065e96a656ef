/* Chooses the kernels, once, at run time. */
#include "simd/level.h"
#include "simd/shuffles.h"

#include <string.h>

#if KM_X86_LEVELS
#include <cpuid.h>
#endif

km_kernels km_simd;

/* Every kernel has its line here. */
/* clang-format off */
#define KM_EACH_KERNEL(do_with)                                                                    \
    do_with(pack_rows)                                                                             \
    do_with(skip_background)                                                                       \
    do_with(transpose_rows)                                                                        \
    do_with(list_line)                                                                             \
    do_with(write_dense)                                                                           \
    do_with(set_runs)                                                                              \
    do_with(paint_rows)                                                                            \
    do_with(fill_runs)                                                                             \
    do_with(clear)                                                                                 \
    do_with(stamp)                                                                                 \
    do_with(blend)                                                                                 \
    do_with(read_codes)                                                                            \
    do_with(write_codes)                                                                           \
    do_with(row_range)                                                                             \
    do_with(count_shared)                                                                          \
    do_with(overlap_spans)
/* clang-format on */

#define KM_COUNT(kernel) +1
enum { KERNELS = 0 KM_EACH_KERNEL(KM_COUNT) };

_Static_assert(sizeof(km_kernels) ==
                   offsetof(km_kernels, pack_rows) + KERNELS * sizeof(void (*)(void)),
               "a kernel of the table has no line in KM_EACH_KERNEL");

/* ---- what the processor has ---- */

static bool always(void)
{
    return true;
}

#if KM_X86_LEVELS

/* A CPU without LZCNT decodes it as BSR and returns a wrong count. This tests the bit of CPUID (AMD
 * calls it ABM), because not all compilers let __builtin_cpu_supports ask for "lzcnt". */
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

/* ---- levels ---- */

enum { MAX_TABLES = 2 };

typedef struct {
    const char *name;
    bool (*is_there)(void);
    const km_kernels *tables[MAX_TABLES]; /* of the level's files; NULL after the last */
} level;

/* From the lowest up. A processor that has one of them has all below it. A level of 128 bits, for
 * x86 without AVX2 and for ARM, has its place between "scalar" and "avx2". */
static const level levels[] = {
    {"scalar", always, {&km_scalar}},
#if KM_X86_LEVELS
    {"avx2", has_avx2, {&km_avx2, &km_avx2_codes}},
    {"avx512", has_avx512, {&km_avx512, &km_avx512_codes}},
#endif
};

enum { LEVELS = sizeof levels / sizeof *levels };

/* Replaces the kernels of lower levels by those that the table has. */
static void add_table(km_kernels *kernels, const km_kernels *table)
{
#define KM_TAKE(kernel)                                                                            \
    if (table->kernel)                                                                             \
        kernels->kernel = table->kernel;
    KM_EACH_KERNEL(KM_TAKE)
}

/* Returns the number of levels from the lowest up to `name` (NULL: all that this CPU has), or 0 if
 * the CPU does not have that level. */
static size_t find_level(const char *name)
{
    size_t n = 0;
    while (n < LEVELS && levels[n].is_there())
        n++;
    while (n > 0 && name && strcmp(name, levels[n - 1].name) != 0)
        n--;
    return n;
}

bool km_simd_select(const char *name)
{
    size_t n = find_level(name);
    if (n == 0)
        return false;
    km_kernels kernels = {.name = levels[n - 1].name, .interleave = !has_avx512()};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < MAX_TABLES && levels[i].tables[j]; j++)
            add_table(&kernels, levels[i].tables[j]);
    km_fill_shuffles();
    km_simd = kernels;
    return true;
}
