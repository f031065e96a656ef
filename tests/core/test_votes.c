/* Groups of masks, against counting at each pixel. */
#include "harness.h"

/* Groups of masks, against counting at each pixel. */
void check_plurality(uint32_t height, uint32_t width, size_t n)
{
    size_t pixels = (size_t)height * width;
    uint32_t n_groups = 1 + below((uint32_t)n + 2), *groups = room(n, sizeof *groups);
    sample *samples = room(n, sizeof *samples);
    km_mask *masks = room(n, sizeof *masks), *winners = room(n_groups, sizeof *winners);
    for (size_t i = 0; i < n; i++) {
        samples[i] = random_sample(height, width);
        masks[i] = samples[i].mask;
        groups[i] = below(n_groups);
    }
    size_t words = km_plurality_scratch(masks, n, n_groups);
    uint64_t *scratch = room(words, sizeof *scratch);
    uint32_t *runs = room(km_plurality_capacity(masks, n, n_groups), sizeof *runs);
    CHECK(km_plurality(masks, groups, n, n_groups, runs, winners, scratch, NULL));
    uint32_t *expected = room(pixels + 1, sizeof *expected);
    uint8_t *won = room(pixels, 1);
    for (uint32_t group = 0; group < n_groups; group++) {
        for (size_t k = 0; k < pixels; k++) {
            uint32_t votes[12] = {0}, best = 0;
            for (size_t i = 0; i < n; i++)
                votes[groups[i]] += samples[i].pixels[k] != 0;
            for (uint32_t other = 1; other < n_groups; other++)
                best = votes[other] >= votes[best] ? other : best;
            won[k] = best == group && votes[group] > 0;
        }
        km_mask wanted = {expected, reference_runs(won, pixels, expected), height, width};
        check_runs(winners[group].runs, winners[group].n_runs, &wanted);
        CHECK(winners[group].height == height && winners[group].width == width);
    }
    unsigned asked = 0;
    km_watch watch = {stop_at_once, &asked, 0};
    CHECK(!km_plurality(masks, groups, n, n_groups, runs, winners, scratch, &watch) && asked == 1);
    for (size_t i = 0; i < n; i++)
        discard(&samples[i]);
    free(won);
    free(expected);
    free(runs);
    free(scratch);
    free(winners);
    free(masks);
    free(samples);
    free(groups);
}
