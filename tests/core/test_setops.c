/* Set algebra, against pixels. */
#include "harness.h"

static bool apply(km_operation operation, bool a, bool b)
{
    switch (operation) {
    case KM_UNION:
        return a || b;
    case KM_INTERSECTION:
        return a && b;
    case KM_DIFFERENCE:
        return a && !b;
    default:
        return a != b;
    }
}

void check_pair(const sample *a, const sample *b)
{
    static const km_operation operations[] = {KM_UNION, KM_INTERSECTION, KM_DIFFERENCE,
                                              KM_SYMMETRIC_DIFFERENCE};
    size_t n = (size_t)km_pixels(&a->mask);
    uint8_t *pixels = room(n, 1);
    uint32_t *expected = room(n + 1, sizeof *expected);
    for (unsigned k = 0; k < 4; k++) {
        uint32_t *runs = room(a->mask.n_runs + b->mask.n_runs, sizeof *runs);
        size_t found = km_combine(operations[k], &a->mask, &b->mask, runs);
        for (size_t i = 0; i < n; i++)
            pixels[i] = apply(operations[k], a->pixels[i] != 0, b->pixels[i] != 0);
        km_mask wanted = {expected, reference_runs(pixels, n, expected), 0, 0};
        check_runs(runs, found, &wanted);
        free(runs);
    }
    uint32_t *runs = room(a->mask.n_runs + 1, sizeof *runs);
    size_t found = km_complement(&a->mask, runs);
    for (size_t i = 0; i < n; i++)
        pixels[i] = a->pixels[i] == 0;
    km_mask wanted = {expected, reference_runs(pixels, n, expected), 0, 0};
    check_runs(runs, found, &wanted);
    free(runs);
    free(expected);
    free(pixels);
}

/* Unions and intersections that go by bits call this kernel. */
static void (*set_runs)(const uint32_t *, size_t, uint64_t, uint64_t, uint64_t, uint64_t *);

static void set_runs_counted(const uint32_t *runs, size_t n, uint64_t start, uint64_t from,
                             uint64_t to, uint64_t *bits)
{
    done.set_runs++;
    set_runs(runs, n, start, from, to, bits);
}

void count_calls_of_set_runs(void)
{
    set_runs = km_simd.set_runs;
    km_simd.set_runs = set_runs_counted;
}

/* Removes the foreground outside the pixels from..to - 1. */
static void confine(sample *s, size_t from, size_t to)
{
    size_t n = (size_t)km_pixels(&s->mask);
    for (size_t i = 0; i < n; i++)
        s->pixels[i] = i >= from && i < to ? s->pixels[i] : 0;
    find_runs(s);
}

void check_many(uint32_t height, uint32_t width, size_t n)
{
    sample *samples = room(n, sizeof *samples);
    km_mask *masks = room(n, sizeof *masks);
    size_t pixels = (size_t)height * width, total = 0;
    uint8_t *any = room(pixels, 1), *all = room(pixels, 1);
    uint32_t *expected = room(pixels + 1, sizeof *expected);
    if (pixels) {
        memset(any, 0, pixels);
        memset(all, 1, pixels);
    }
    size_t from = 0, to = pixels;
    if (pixels > 0 && below(2)) {
        from = below((uint32_t)pixels);
        to = from + 1 + below((uint32_t)(pixels - from));
    }
    for (size_t i = 0; i < n; i++) {
        samples[i] = random_sample(height, width);
        if (from > 0 || to < pixels)
            confine(&samples[i], from, to);
        masks[i] = samples[i].mask;
        total += masks[i].n_runs;
        for (size_t j = 0; j < pixels; j++)
            any[j] |= samples[i].pixels[j], all[j] &= samples[i].pixels[j] != 0;
    }
    check_measures_of_texts(masks, n);
    uint32_t *runs = room(total, sizeof *runs);
    uint64_t *scratch = room(km_combine_all_scratch(masks, n), sizeof *scratch);
    size_t found = km_combine_all(KM_UNION, masks, n, runs, scratch, NULL);
    km_mask wanted = {expected, reference_runs(any, pixels, expected), height, width};
    check_runs(runs, found, &wanted);
    unsigned asked = 0;
    km_watch watch = {stop_at_once, &asked, 0};
    CHECK(km_combine_all(KM_UNION, masks, n, runs, scratch, &watch) == 0 || asked == 0);
    CHECK(asked <= 1);
    found = km_combine_all(KM_INTERSECTION, masks, n, runs, scratch, NULL);
    wanted.n_runs = reference_runs(all, pixels, expected);
    check_runs(runs, found, &wanted);
    for (size_t i = 0; i < n; i++)
        discard(&samples[i]);
    free(samples);
    free(masks);
    free(any);
    free(all);
    free(expected);
    free(runs);
    free(scratch);
}

/* One mask of many runs, and others of three runs that span the image. A union of a few of them
 * goes by bits. Of many it does not: each would write the bits of the whole image. */
void check_lopsided(void)
{
    enum { MANY = 100, DENSE = 1 << 12 };
    uint32_t height = 1 << 10, width = 1 << 9, few[3] = {2, height * width - 4, 2};
    uint32_t *dense = room(DENSE + 1, sizeof *dense);
    km_mask masks[MANY];
    for (size_t i = 0; i < MANY; i++)
        masks[i] = (km_mask){few, 3, height, width};
    for (size_t i = 0; i < DENSE; i++)
        dense[i] = 1;
    dense[DENSE] = height * width - DENSE;
    masks[0] = (km_mask){dense, DENSE + 1, height, width};
    for (size_t n = 10; n <= MANY; n += MANY - 10) {
        unsigned long before = done.set_runs;
        uint64_t *scratch = room(km_combine_all_scratch(masks, n), sizeof *scratch);
        uint32_t *runs = room(km_total_runs(masks, n), sizeof *runs);
        CHECK(km_combine_all(KM_UNION, masks, n, runs, scratch, NULL) == 3);
        CHECK(runs[0] == 1 && runs[1] == height * width - 3 && runs[2] == 2);
        CHECK((done.set_runs > before) == (n < MANY));
        free(runs);
        free(scratch);
    }
    free(dense);
}

/* A union in which one mask of three has the last pixel that is missing, and the intersection of
 * the complements; for each place of that pixel. */
void check_single_pixels(void)
{
    enum { PIXELS = 200 };
    for (uint32_t place = 0; place < PIXELS; place++) {
        uint32_t rest = PIXELS - 1 - place, runs[10];
        uint32_t hole[4] = {0, place, 1, rest}, dot[3] = {place, 1, rest};
        km_mask lacking = {hole, rest ? 4 : 3, 8, 25}, having = {dot, rest ? 3 : 2, 8, 25};
        if (place == 0)
            lacking = (km_mask){hole + 2, 2, 8, 25};
        km_mask whole[3] = {lacking, lacking, having}, none[3] = {having, having, lacking};
        uint64_t *scratch = room(km_combine_all_scratch(whole, 3), sizeof *scratch);
        CHECK(km_combine_all(KM_UNION, whole, 3, runs, scratch, NULL) == 2);
        CHECK(runs[0] == 0 && runs[1] == PIXELS);
        free(scratch);
        scratch = room(km_combine_all_scratch(none, 3), sizeof *scratch);
        CHECK(km_combine_all(KM_INTERSECTION, none, 3, runs, scratch, NULL) == 1);
        CHECK(runs[0] == PIXELS);
        free(scratch);
    }
}
