/* Images of nearly 2**32 pixels: nothing wraps around, and nothing takes memory or time for each
 * pixel or column. */
#include "harness.h"

/* Of an image that is all foreground, no operation takes work or room for each column. */
static void check_full(const km_mask *full)
{
    uint32_t height = full->height, width = full->width, runs[8], scratch[2];
    km_box box = {0, 0, width, height};
    CHECK(km_box_capacity(box, height) <= 8);
    check_runs(runs, km_box_runs(box, height, width, runs), full);
    km_transform small = {.kind = KM_RESIZE, .height = 3, .width = 5},
                 same[] = {{.kind = KM_FLIP_ROWS},
                           {.kind = KM_FLIP_COLUMNS},
                           {.kind = KM_FRAME, .added = true},
                           {.kind = KM_RESIZE, .height = height, .width = width},
                           {.kind = KM_RESIZE, .height = height, .width = width, .centers = true}};
    for (unsigned i = 0; i < 5; i++) {
        CHECK(km_transform_capacity(&same[i], full, scratch) <= 8);
        check_runs(runs, km_transform_mask(&same[i], full, runs, scratch), full);
    }
    CHECK(km_transform_capacity(&small, full, scratch) <= 8);
    CHECK(km_transform_mask(&small, full, runs, scratch) == 2 && runs[0] == 0 && runs[1] == 15);
    small = (km_transform){.kind = KM_FRAME, .height = 1, .added = true};
    uint32_t high, wide;
    CHECK(!km_transform_size(&small, full, &high, &wide) || width < 2);
    double x, y;
    km_centroid(full, &x, &y);
    CHECK(x == width / 2.0 && y == height / 2.0);
    km_transform right = {.kind = KM_FRAME, .x = -2, .added = true};
    CHECK(km_transform_capacity(&right, full, scratch) <= 8);
    if (width > 2) {
        CHECK(km_transform_mask(&right, full, runs, scratch) == 2);
        CHECK(runs[0] == 2 * height && runs[1] == full->runs[1] - 2 * height);
    }
}

void check_huge(void)
{
    uint32_t sizes[][2] = {{UINT32_MAX, 1}, {1, UINT32_MAX}, {65535, 65537}};
    for (unsigned i = 0; i < 3; i++) {
        uint32_t height = sizes[i][0], width = sizes[i][1], all = UINT32_MAX;
        uint32_t whole[2] = {0, all}, last_but_one[3] = {all - 2, 1, 1};
        km_mask full = {whole, 2, height, width}, dot = {last_but_one, 3, height, width};
        CHECK(km_area(&full) == all && km_area(&dot) == 1);
        km_box box = km_bounds(&full);
        CHECK(box.x == 0 && box.y == 0 && box.width == width && box.height == height);
        box = km_bounds(&dot);
        CHECK((uint64_t)box.x * height + box.y == all - 2 && box.width == 1 && box.height == 1);
        CHECK(km_contains(&dot, box.x, box.y) && !km_contains(&dot, 0, 0));
        uint32_t runs[5];
        CHECK(km_combine(KM_DIFFERENCE, &full, &dot, runs) == 4);
        CHECK(runs[0] == 0 && runs[1] == all - 2 && runs[2] == 1 && runs[3] == 1);
        char text[3 * 7 + 64];
        km_mask mask;
        km_failure failure;
        uint32_t *back;
        size_t length = km_format(last_but_one, 3, text);
        CHECK(read_one(text, length, &dot, true, &back, &mask, &failure));
        check_runs(mask.runs, mask.n_runs, &dot);
        free(back);
        check_full(&full);
    }
    /* A pixel in each of the last columns: so many columns that floats do not tell them apart. */
    enum { LAST = 32 };
    uint32_t columns = UINT32_C(1) << 28, dots[2 * LAST + 1];
    for (size_t i = 0; i < LAST; i++) {
        dots[2 * i] = i > 0 ? 4 : 5 * (columns - LAST) + 2;
        dots[2 * i + 1] = 1;
    }
    dots[2 * LAST] = 2;
    km_mask wide = {dots, 2 * LAST + 1, 5, columns};
    km_box box = km_bounds(&wide);
    CHECK(box.x == columns - LAST && box.y == 2 && box.width == LAST && box.height == 1);
}
