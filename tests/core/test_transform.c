/* Masks on other grids, against moving pixel by pixel. */
#include "harness.h"

typedef enum { SHIFT, TURN, FLIP, RESIZE, KINDS } change_kind;

/* What is to be done to a mask: `x` and `y` are for SHIFT. */
typedef struct {
    change_kind kind;
    int64_t x, y;
    uint32_t height, width; /* of the result */
} change;

static change random_change(change_kind kind, const km_mask *mask)
{
    uint32_t height = mask->height, width = mask->width;
    change c = {.kind = kind, .height = height, .width = width};
    c.x = (int64_t)below(2 * width + 3) - width;
    c.y = (int64_t)below(2 * height + 3) - height;
    if (kind == SHIFT || kind == RESIZE) {
        c.height = below(2 * height + 3);
        c.width = below(2 * width + 3);
    }
    return c;
}

/* The pixel of the mask that is shown at a place of the result. */
static bool pixel_shown(const sample *s, const change *c, uint32_t x, uint32_t y)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    switch (c->kind) {
    case SHIFT:
        return pixel_of(s, x + c->x, y + c->y);
    case TURN:
        return pixel_of(s, (int64_t)width - 1 - x, (int64_t)height - 1 - y);
    case FLIP:
        return pixel_of(s, x, (int64_t)height - 1 - y);
    default:
        return pixel_of(s, (int64_t)((uint64_t)x * width / c->width),
                        (int64_t)((uint64_t)y * height / c->height));
    }
}

static uint64_t capacity_of(const km_mask *mask, const change *c, uint32_t *scratch)
{
    switch (c->kind) {
    case SHIFT:
        return km_shift_capacity(mask, c->x, c->y, c->height, c->width);
    case TURN:
        return mask->n_runs + 1;
    case FLIP:
        return km_flip_capacity(mask);
    default:
        return km_resize_capacity(mask, c->height, c->width, scratch);
    }
}

static size_t runs_of(const km_mask *mask, const change *c, uint32_t *runs, uint32_t *scratch)
{
    switch (c->kind) {
    case SHIFT:
        return km_shift(mask, c->x, c->y, c->height, c->width, runs);
    case TURN:
        return km_turn(mask, runs);
    case FLIP:
        return km_flip_rows(mask, runs, scratch);
    default:
        return km_resize(mask, c->height, c->width, runs, scratch);
    }
}

void check_transforms(const sample *s)
{
    for (unsigned i = 0; i < KINDS; i++) {
        change c = random_change((change_kind)i, &s->mask);
        size_t n = (size_t)c.height * c.width;
        uint8_t *grid = room(n, 1);
        for (uint32_t x = 0; x < c.width; x++)
            for (uint32_t y = 0; y < c.height; y++)
                grid[(size_t)x * c.height + y] = pixel_shown(s, &c, x, y);
        uint32_t *expected = room(n + 1, sizeof *expected);
        km_mask wanted = {expected, reference_runs(grid, n, expected), c.height, c.width};
        uint32_t *scratch = room(s->mask.n_runs, sizeof *scratch);
        uint64_t capacity = capacity_of(&s->mask, &c, scratch);
        uint32_t *runs = room((size_t)capacity, sizeof *runs);
        size_t found = runs_of(&s->mask, &c, runs, scratch);
        CHECK(found <= capacity);
        check_runs(runs, found, &wanted);
        free(scratch);
        free(runs);
        free(expected);
        free(grid);
    }
}
