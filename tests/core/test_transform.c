/* Masks on other grids, against moving pixel by pixel. */
#include "harness.h"

enum { KINDS = KM_COMPLEMENT + 1 };

static km_transform random_transform(km_transform_kind kind, const km_mask *mask)
{
    uint32_t height = mask->height, width = mask->width;
    km_transform t = {.kind = kind};
    t.x = (int64_t)below(2 * width + 3) - width;
    t.y = (int64_t)below(2 * height + 3) - height;
    t.added = kind == KM_FRAME && below(2);
    t.height = below(2 * height + 3);
    t.width = below(2 * width + 3);
    t.centers = below(2);
    return t;
}

/* The row (or column) of `from` that is shown at `at` of `to`. */
static int64_t resized(uint64_t at, uint64_t from, uint64_t to, bool centers)
{
    return (int64_t)(centers ? (2 * at + 1) * from / (2 * to) : at * from / to);
}

/* The pixel of the mask that is shown at a place of the result of height x width. */
static bool pixel_shown(const sample *s, const km_transform *t, uint32_t height, uint32_t width,
                        uint32_t x, uint32_t y)
{
    int64_t last_row = (int64_t)s->mask.height - 1, last_column = (int64_t)s->mask.width - 1;
    switch (t->kind) {
    case KM_FRAME:
        return pixel_of(s, x + t->x, y + t->y);
    case KM_FLIP_ROWS:
        return pixel_of(s, x, last_row - y);
    case KM_FLIP_COLUMNS:
        return pixel_of(s, last_column - x, y);
    case KM_RESIZE:
        return pixel_of(s, resized(x, s->mask.width, width, t->centers),
                        resized(y, s->mask.height, height, t->centers));
    default:
        return !pixel_of(s, x, y);
    }
}

void check_transforms(const sample *s)
{
    for (int kind = 0; kind < KINDS; kind++) {
        km_transform t = random_transform((km_transform_kind)kind, &s->mask);
        uint32_t height, width;
        CHECK(km_transform_size(&t, &s->mask, &height, &width));
        size_t n = (size_t)height * width;
        uint8_t *grid = room(n, 1);
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t y = 0; y < height; y++)
                grid[(size_t)x * height + y] = pixel_shown(s, &t, height, width, x, y);
        uint32_t *expected = room(n + 1, sizeof *expected);
        km_mask wanted = {expected, reference_runs(grid, n, expected), height, width};
        uint32_t *scratch = room(s->mask.n_runs, sizeof *scratch);
        uint64_t capacity = km_transform_capacity(&t, &s->mask, scratch);
        uint32_t *runs = room((size_t)capacity, sizeof *runs);
        size_t found = km_transform_mask(&t, &s->mask, runs, scratch);
        CHECK(found <= capacity);
        check_runs(runs, found, &wanted);
        free(scratch);
        free(runs);
        free(expected);
        free(grid);
    }
}
