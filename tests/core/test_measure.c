/* Measures of masks and of lists of texts. */
#include "harness.h"

void check_measures(const sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    uint64_t area = 0;
    uint32_t left = UINT32_MAX, right = 0, top = UINT32_MAX, bottom = 0;
    for (uint32_t x = 0; x < width; x++)
        for (uint32_t y = 0; y < height; y++)
            if (s->pixels[(size_t)x * height + y]) {
                area++;
                left = x < left ? x : left;
                right = x + 1;
                top = y < top ? y : top;
                bottom = y + 1 > bottom ? y + 1 : bottom;
            }
    km_box box = km_bounds(&s->mask);
    CHECK(km_area(&s->mask) == area);
    if (area == 0)
        CHECK(box.x == 0 && box.y == 0 && box.width == 0 && box.height == 0);
    else
        CHECK(box.x == left && box.y == top && box.width == right - left &&
              box.height == bottom - top);
    if (height && width) {
        uint32_t x = below(width), y = below(height);
        CHECK(km_contains(&s->mask, x, y) == (s->pixels[(size_t)x * height + y] != 0));
    }
    CHECK(!km_contains(&s->mask, width, 0) && !km_contains(&s->mask, 0, height));

    uint32_t *runs = room((size_t)km_box_capacity(box, height), sizeof *runs);
    size_t n = area ? km_box_runs(box, height, width, runs) : 0;
    if (area) {
        km_mask full = {runs, n, height, width};
        km_box again = km_bounds(&full);
        CHECK(memcmp(&again, &box, sizeof box) == 0);
        CHECK(km_area(&full) == (uint64_t)box.width * box.height);
        check_canonical(&full);
    }
    free(runs);
}

/* Texts, read one after the other into the same memory, against the masks that they were made of.
 */
void check_measures_of_texts(const km_mask *masks, size_t n)
{
    km_rle *rles = room(n + 1, sizeof *rles);
    int64_t *areas = room(n + 1, sizeof *areas), *boxes = room(4 * n, sizeof *boxes);
    for (size_t i = 0; i <= n; i++) { /* the last one overshoots the image */
        const km_mask *mask = &masks[i < n ? i : 0];
        char *text = room(km_format_capacity(mask->n_runs) + 1, 1);
        size_t length = km_format(mask->runs, mask->n_runs, text);
        if (i == n)
            text[length++] = '1';
        rles[i] = (km_rle){text, NULL, length, mask->height, mask->width};
    }
    km_batch batch = km_survey(rles, n + 1);
    uint32_t *runs = room(batch.largest + KM_READ_SLACK, sizeof *runs);
    CHECK(batch.same == n + 1 && km_count_same_size(masks, n) == n);
    CHECK(batch.total >= batch.largest && batch.total <= (n + 1) * batch.largest);
    rles[n].width++;
    CHECK(km_survey(rles, n + 1).same == n);
    rles[n].width--;
    rles[n].height++;
    CHECK(km_survey(rles, n + 1).same == n);
    rles[n].height--;
    km_failure failure;
    CHECK(km_measure(rles, n, runs, areas, NULL, &failure, NULL));
    CHECK(km_measure(rles, n, runs, NULL, boxes, &failure, NULL));
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(&masks[i]);
        int64_t wanted[4] = {box.x, box.y, box.width, box.height};
        CHECK(areas[i] == (int64_t)km_area(&masks[i]));
        CHECK(memcmp(&boxes[4 * i], wanted, sizeof wanted) == 0);
    }
    CHECK(!km_measure(rles, n + 1, runs, areas, NULL, &failure, NULL) && failure.index == n);
    for (size_t i = 0; i <= n; i++)
        free((void *)rles[i].chars);
    free(rles);
    free(areas);
    free(boxes);
    free(runs);
}
