/* Tests the core at each level that this machine has, against references that look at every
 * pixel. */
#include "harness.h"

test_tally done;

/* Sizes at and next to those of words and vectors. */
static void check_edges(void)
{
    static const uint32_t edges[] = {0, 1, 2, 7, 8, 9, 63, 64, 65};
    for (unsigned i = 0; i < 9; i++)
        for (unsigned j = 0; j < 9; j++)
            for (unsigned k = 0; k < 4; k++) {
                sample s = random_sample(edges[i], edges[j]);
                check_raster(&s);
                check_counts(&s);
                check_measures(&s);
                discard(&s);
            }
}

/* About as many pixels as encoding reads in a block, and several times that. */
static void check_large(void)
{
    static const uint32_t large[][2] = {{256, 256}, {255, 257}, {257, 256},
                                        {700, 300}, {90, 3000}, {64, 1024}};
    for (unsigned i = 0; i < 6; i++)
        for (unsigned k = 0; k < 20; k++) {
            sample s = random_sample(large[i][0], large[i][1]);
            check_raster(&s);
            discard(&s);
        }
}

static void check_two(uint32_t height, uint32_t width, bool pictures)
{
    sample a = random_sample(height, width), b = random_sample(height, width);
    check_raster(&a);
    check_counts(&a);
    check_measures(&a);
    check_pair(&a, &b);
    check_iou(&a, &b);
    if (pictures) {
        check_transforms(&a);
        check_blend(&a, &b);
        check_render(&a);
    }
    discard(&a);
    discard(&b);
}

/* Columns with one or two pieces of foreground each. */
static void check_tall(uint32_t height, uint32_t width)
{
    sample a = random_sample(height, width), b = random_sample(height, width);
    check_raster(&a);
    check_iou(&a, &b);
    discard(&a);
    discard(&b);
}

/* Widths around KM_COUNT_FROM_COLUMNS: the capacity changes from a bound to an exact count. */
static void check_wide(void)
{
    sample s = random_sample(1 + below(4), KM_COUNT_FROM_COLUMNS - 5 + below(50));
    check_transforms(&s);
    discard(&s);
}

static void check_random(void)
{
    for (unsigned i = 0; i < 1500; i++) {
        uint32_t height = below(i % 10 ? 60 : 5), width = below(i % 7 ? 60 : 1500);
        if (i % 25 == 0)
            width += 1024; /* rows of many words */
        check_two(height, width, i % 3 == 0);
        if (i % 20 == 0)
            check_many(height, width, 1 + below(9));
        if (i % 10 == 3)
            check_batch(height, width, below(6));
        if (i % 20 == 1) {
            check_plurality(height, width, 1 + below(9));
            check_iou_by_index();
        }
        if (i % 25 == 0) /* more words than are listed at once */
            check_many(150, 120 + below(120), 3 + below(3));
        if (i % 10 == 0)
            check_wide();
        if (i % 3 == 0) {
            height = 500 + below(1500);
            check_tall(height, 1 + below(i % 9 ? 40 : 200));
        }
    }
}

static void check_everything(void)
{
    check_borders_of_blocks();
    check_faults();
    check_faults_in_vectors();
    check_lopsided();
    check_single_pixels();
    check_huge();
    check_edges();
    check_large();
    check_random();
}

/* At all levels, memory is read as several streams unless the processor has AVX-512. */
static void check_selected(const char *level, bool has_avx512)
{
    CHECK(strcmp(km_simd.name, level) == 0 && km_simd.interleave == !has_avx512);
    CHECK(km_simd_select(NULL) && km_simd.interleave == !has_avx512);
    CHECK(km_simd_select(level) && strcmp(km_simd.name, level) == 0);
}

int main(void)
{
    static const char *levels[] = {"scalar", "avx2", "avx512"};
    bool has_avx512 = km_simd_select("avx512");
    km_kernels before = km_simd;
    CHECK(!km_simd_select("none"));
    CHECK(before.name == km_simd.name && before.interleave == km_simd.interleave);
    for (unsigned i = 0; i < 2 * 3; i++) {
        const char *level = levels[i / 2], *how = i % 2 ? "as several streams" : "as one stream";
        if (!km_simd_select(level)) {
            printf("core: this machine has no %s\n", level);
            continue;
        }
        check_selected(level, has_avx512);
        km_simd.interleave = i % 2; /* both ways, whatever the processor has */
        count_calls_of_set_runs();
        done = (test_tally){0};
        check_everything();
        CHECK(done.iou_by_bits > 100 && done.iou_by_spans > 50 && done.iou_by_index > 100 &&
              done.set_runs > 500);
        printf("core: %lu checks hold with %s, memory %s\n", done.checks, level, how);
    }
    return 0;
}
