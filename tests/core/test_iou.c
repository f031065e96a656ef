/* Intersection over union, in each of the ways that iou.c computes it. */
#include "harness.h"

/* Through a variable: an x87 compares the value of an expression in 80 bits. */
static double expected_iou(uint64_t both, uint64_t either)
{
    double iou = 0;
    if (either)
        iou = (double)both / (double)either;
    return iou;
}

/* By runs if each mask meets one other, else by bits or spans. */
void check_iou(const sample *a, const sample *b)
{
    size_t n = (size_t)km_pixels(&a->mask);
    uint64_t both = 0, either = 0;
    for (size_t i = 0; i < n; i++) {
        both += a->pixels[i] && b->pixels[i];
        either += a->pixels[i] || b->pixels[i];
    }
    enum { MANY = 5 };
    km_mask first[MANY], second[MANY];
    for (size_t i = 0; i < MANY; i++)
        first[i] = a->mask, second[i] = b->mask;
    for (size_t many = 1; many <= MANY; many += MANY - 1) {
        km_iou_mask prepared[2 * MANY];
        double iou[MANY * MANY];
        size_t words = km_iou_prepare(first, many, second, many, prepared);
        uint64_t *scratch = room(words, sizeof *scratch);
        CHECK(km_iou(prepared, many, many, scratch, iou, NULL));
        CHECK(many > 1 || (!prepared[0].bits && !prepared[0].n_spans));
        done.iou_by_bits += prepared[0].bits && prepared[many].bits;
        done.iou_by_spans += prepared[0].n_spans && prepared[many].n_spans;
        for (size_t i = 0; i < many * many; i++)
            CHECK(iou[i] == expected_iou(both, either));
        free(scratch);
    }
}

/* A mask of many runs meets some of a few. They span so many columns that bits would take too much
 * memory, so the first gets an index. */
void check_iou_by_index(void)
{
    enum { MASKS = 5 };
    uint32_t height = 1 + below(70), width = 2000 + below(2000);
    size_t n = (size_t)height * width;
    sample samples[MASKS];
    for (size_t i = 0; i < MASKS; i++) {
        samples[i] = random_sample(height, width);
        if (i == 0)
            draw_noise(samples[i].pixels, n);
        else
            draw_dots(samples[i].pixels, n, below(4) == 0);
        samples[i].pixels[0] = samples[i].pixels[n - 1] = (uint8_t)below(2);
        find_runs(&samples[i]);
    }
    for (unsigned swapped = 0; swapped < 2; swapped++) {
        km_mask masks[2 * MASKS];
        km_iou_mask prepared[MASKS];
        double iou[MASKS];
        for (size_t i = 0; i < 2 * MASKS; i++)
            masks[i] =
                samples[(i + swapped) % MASKS].mask; /* the one of many runs first, or last */
        size_t n_a = swapped ? MASKS - 1 : 1, n_b = MASKS - n_a, many = swapped ? MASKS - 1 : 0;
        uint64_t *scratch =
            room(km_iou_prepare(masks, n_a, masks + n_a, n_b, prepared), sizeof *scratch);
        CHECK(km_iou(prepared, n_a, n_b, scratch, iou, NULL));
        done.iou_by_index += prepared[many].ends != NULL;
        for (size_t i = 1; i < MASKS; i++) {
            uint64_t both = 0, either = 0;
            for (size_t k = 0; k < n; k++) {
                both += samples[0].pixels[k] && samples[i].pixels[k];
                either += samples[0].pixels[k] || samples[i].pixels[k];
            }
            CHECK(iou[i - 1] == expected_iou(both, either));
        }
        unsigned asked = 0;
        km_watch watch = {stop_at_once, &asked, 0};
        km_iou_prepare(masks, n_a, masks + n_a, n_b, prepared);
        CHECK(!km_iou(prepared, n_a, n_b, scratch, iou, &watch) && asked == 1);
        free(scratch);
    }
    for (size_t i = 0; i < MASKS; i++)
        discard(&samples[i]);
}
