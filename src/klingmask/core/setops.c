/* Set algebra on runs: masks in, canonical runs out, no pixel touched. */
#include "klingmask.h"
#include "writer.h"

#include <string.h>

size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    size_t i = 0, j = 0; /* the current runs; odd ones are foreground */
    uint32_t left_a = a->runs[0], left_b = b->runs[0];
    for (;;) {
        uint32_t length = left_a < left_b ? left_a : left_b;
        unsigned row = (unsigned)(2 * (i & 1) + (j & 1));
        km_write(&writer, ((unsigned)operation >> row) & 1, length);
        left_a -= length;
        left_b -= length;
        if (left_a == 0) {
            if (++i == a->n_runs)
                break; /* so has b: both cover the image */
            left_a = a->runs[i];
        }
        if (left_b == 0) {
            if (++j == b->n_runs)
                break;
            left_b = b->runs[j];
        }
    }
    return writer.n;
}

/* Neighbours are combined pair by pair, then the results, as a merge sort
 * does: a run takes part in log n merges, not in n. */
size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n, uint32_t *runs,
                      uint32_t *scratch, km_mask *folds)
{
    uint32_t *target = runs, *other = scratch;
    const km_mask *level = masks;
    while (n > 1) {
        uint32_t *next = target;
        size_t n_folds = 0;
        for (size_t i = 0; i < n; i += 2) {
            km_mask fold = level[i];
            if (i + 1 < n)
                fold.n_runs = km_combine(operation, &level[i], &level[i + 1], next);
            else
                memcpy(next, level[i].runs, level[i].n_runs * sizeof *next);
            fold.runs = next;
            next += fold.n_runs;
            folds[n_folds++] = fold; /* entry i / 2: behind what is still to be read */
        }
        level = folds;
        n = n_folds;
        uint32_t *swap = target;
        target = other;
        other = swap;
    }
    if (level[0].runs != runs)
        memmove(runs, level[0].runs, level[0].n_runs * sizeof *runs);
    return level[0].n_runs;
}

size_t km_complement(const km_mask *mask, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    for (size_t i = 0; i < mask->n_runs; i++)
        km_write(&writer, (i & 1) ^ 1, mask->runs[i]);
    return writer.n;
}
