/* Loops over many masks: the same as one mask after the other, in exactly the memory that they ask
 * for, and stopped when the watch says so. */
#include "harness.h"

static void check_stopped(km_watch *watch, unsigned *asked)
{
    CHECK(*asked == 1);
    *asked = 0;
    watch->left = 0;
}

static void check_columns(const km_mask *masks, size_t n)
{
    int64_t *sizes = room(2 * n, sizeof *sizes), *areas = room(n, sizeof *areas);
    int64_t *boxes = room(4 * n, sizeof *boxes), *indices = room(n, sizeof *indices);
    double *centroids = room(2 * n, sizeof *centroids);
    km_mask *picked = room(n, sizeof *picked), *copies = room(n, sizeof *copies);
    size_t total = 0, most = 0;
    km_sizes(masks, n, sizes);
    CHECK(km_areas(masks, n, areas, NULL) && km_boxes(masks, n, boxes, NULL) &&
          km_centroids(masks, n, centroids, NULL));
    unsigned asked = 0;
    km_watch watch = {stop_at_once, &asked, 0};
    CHECK(n == 0 || !km_areas(masks, n, areas, &watch));
    watch.left = 0;
    CHECK(n == 0 || !km_boxes(masks, n, boxes, &watch));
    watch.left = 0;
    CHECK(n == 0 || !km_centroids(masks, n, centroids, &watch));
    CHECK(asked == (n == 0 ? 0 : 3));
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(&masks[i]);
        int64_t row[4] = {box.x, box.y, box.width, box.height};
        double x, y;
        km_centroid(&masks[i], &x, &y);
        CHECK(sizes[2 * i] == masks[i].height && sizes[2 * i + 1] == masks[i].width);
        CHECK(areas[i] == (int64_t)km_area(&masks[i]));
        CHECK(memcmp(&boxes[4 * i], row, sizeof row) == 0);
        CHECK(!(centroids[2 * i] < x || centroids[2 * i] > x || centroids[2 * i + 1] < y ||
                centroids[2 * i + 1] > y));
        total += masks[i].n_runs;
        most = masks[i].n_runs > most ? masks[i].n_runs : most;
        indices[i] = (int64_t)below((uint32_t)n);
    }
    CHECK(km_total_runs(masks, n) == total && km_most_runs(masks, n) == most);
    km_pick(masks, indices, n, picked);
    uint32_t *runs = room(km_total_runs(picked, n), sizeof *runs);
    km_copy(picked, n, copies, runs);
    CHECK(km_equal(picked, copies, n));
    for (size_t i = 0; i < n; i++) {
        CHECK(copies[i].runs != masks[indices[i]].runs);
        check_runs(copies[i].runs, copies[i].n_runs, &masks[indices[i]]);
    }
    if (n > 0) {
        km_mask other = masks[0];
        other.width++;
        CHECK(!km_equal(&other, masks, 1));
        other = masks[0];
        other.n_runs--;
        CHECK(!km_equal(&other, masks, 1));
    }
    free(runs);
    free(copies);
    free(picked);
    free(centroids);
    free(indices);
    free(boxes);
    free(areas);
    free(sizes);
}

/* Images of the masks, in rows with gaps or in columns. */
static void check_stacks(const km_mask *masks, const km_rle *rles, const sample *samples, size_t n)
{
    uint32_t height = masks->height, width = masks->width;
    km_stack stack = {.n = n, .columns = below(2), .height = height, .width = width};
    stack.stride = stack.columns ? 1 : (ptrdiff_t)width + (ptrdiff_t)below(3);
    size_t last = stack.columns ? (size_t)height * width
                  : height      ? (height - 1) * (size_t)stack.stride + width
                                : 0;
    stack.step = (ptrdiff_t)(last + below(5));
    size_t bytes = n > 0 ? (n - 1) * (size_t)stack.step + last : 0;
    /* As if there were little to paint, or much. */
    km_painting how = {.value = (uint8_t)(1 + below(255)), .zeroed = below(2)};
    how.bytes = below(2) ? bytes : UINT64_C(1) << 40;
    uint8_t before = how.zeroed ? 0 : 7;
    size_t largest = km_survey(rles, n).largest + KM_READ_SLACK;
    uint32_t *read = room(largest, sizeof *read);
    uint64_t *scratch = room(km_paint_scratch(&stack), sizeof *scratch);
    stack.pixels = room(bytes, 1);
    for (unsigned from_rles = 0; from_rles < 2; from_rles++) {
        km_failure failure;
        if (bytes > 0)
            memset(stack.pixels, before, bytes);
        CHECK(from_rles ? km_paint_rles(&how, rles, true, &stack, read, scratch, &failure, NULL)
                        : km_paint(&how, masks, &stack, scratch, NULL));
        for (size_t i = 0; last > 0 && i < bytes; i++) {
            size_t image = i / (size_t)stack.step, at = i % (size_t)stack.step;
            size_t stride = stack.columns ? height : (size_t)stack.stride;
            size_t x = stack.columns ? at / stride : at % stride;
            size_t y = stack.columns ? at % stride : at / stride;
            bool inside = at < last && x < width && y < height;
            bool set = inside && samples[image].pixels[x * height + y];
            CHECK(stack.pixels[i] == (inside ? set ? how.value : 0 : before));
        }
        unsigned asked = 0;
        km_watch watch = {stop_at_once, &asked, 0};
        if (from_rles) {
            CHECK(n == 0 ||
                  (!km_paint_rles(&how, rles, true, &stack, read, scratch, &failure, &watch) &&
                   failure.fault == KM_STOPPED && asked == 1));
        } else {
            CHECK(n == 0 || (!km_paint(&how, masks, &stack, scratch, &watch) && asked == 1));
        }
    }
    if (bytes > 0)
        memset(stack.pixels, 7, bytes); /* also between images */
    km_paint(&(km_painting){1, false, bytes}, masks, &stack, scratch, NULL);

    uint64_t *scanned = room(km_encode_scratch(&stack), sizeof *scanned);
    km_mask *found = room(n, sizeof *found);
    km_position position = {0, 0, 0};
    uint32_t *runs = NULL;
    size_t capacity = 0, total = km_total_runs(masks, n);
    unsigned asked = 0;
    km_watch watch = {stop_at_once, &asked, 0};
    km_progress progress;
    while ((progress = km_encode(&stack, scanned, &position, runs, capacity, found, NULL)) ==
           KM_NEEDS_ROOM) {
        CHECK(position.room == masks[position.next].n_runs);
        capacity = position.used + (size_t)position.room;
        uint32_t *moved = room(capacity, sizeof *moved);
        if (position.used > 0)
            memcpy(moved, runs, position.used * sizeof *runs);
        free(runs);
        runs = moved;
    }
    CHECK(progress == KM_DONE && position.used == total);
    km_lay_out(found, n, runs);
    CHECK(km_equal(found, masks, n));
    position = (km_position){0, 0, 0};
    CHECK(n == 0 ||
          (km_encode(&stack, scanned, &position, runs, total, found, &watch) == KM_WAS_STOPPED &&
           asked == 1));
    free(found);
    free(scanned);
    free(runs);
    free(stack.pixels);
    free(scratch);
    free(read);
}

static void check_transforms_of_all(const km_mask *masks, size_t n)
{
    km_transform t = {.kind = (km_transform_kind)below(KM_COMPLEMENT + 1),
                      .x = 1,
                      .y = 2,
                      .height = 9,
                      .width = 7};
    km_mask *results = room(n, sizeof *results);
    uint32_t *scratch = room(km_most_runs(masks, n), sizeof *scratch), *runs = NULL;
    km_position position = {0, 0, 0};
    size_t capacity = 0;
    while (km_transform_all(&t, masks, n, scratch, &position, runs, capacity, results, NULL) ==
           KM_NEEDS_ROOM) {
        capacity = position.used + (size_t)position.room;
        uint32_t *moved = room(capacity, sizeof *moved);
        if (position.used > 0)
            memcpy(moved, runs, position.used * sizeof *runs);
        free(runs);
        runs = moved;
    }
    CHECK(position.next == n);
    km_lay_out(results, n, runs);
    for (size_t i = 0; i < n; i++) {
        uint32_t *one = room((size_t)km_transform_capacity(&t, &masks[i], scratch), sizeof *one);
        km_mask wanted = {one, km_transform_mask(&t, &masks[i], one, scratch), 0, 0};
        CHECK(km_transform_size(&t, &masks[i], &wanted.height, &wanted.width));
        CHECK(results[i].height == wanted.height && results[i].width == wanted.width);
        check_runs(results[i].runs, results[i].n_runs, &wanted);
        free(one);
    }
    unsigned asked = 0;
    km_watch watch = {stop_at_once, &asked, 0};
    position = (km_position){0, 0, 0};
    CHECK(n == 0 || km_transform_all(&t, masks, n, scratch, &position, runs, capacity, results,
                                     &watch) != KM_DONE);
    CHECK(n == 0 || position.used == 0 || asked == 1);
    t = (km_transform){.kind = KM_FRAME, .height = INT64_C(1) << 33, .added = true};
    CHECK(n == 0 || km_transform_all(&t, masks, n, scratch, &position, runs, capacity, results,
                                     NULL) == KM_TOO_LARGE);
    free(runs);
    free(scratch);
    free(results);
}

static void check_pairs(const km_mask *masks, size_t n)
{
    size_t singles[2][2] = {{n, n}, {n, 1}};
    for (unsigned i = 0; i < 4; i++) {
        km_pairs pairs = {masks, masks, singles[i / 2][i % 2], singles[i / 2][1 - i % 2]};
        if (n == 0)
            continue;
        CHECK(km_count_pairs(&pairs) == n && km_count_same_size_pairs(&pairs) == n);
        size_t n_runs = 0;
        km_mask *results = room(n, sizeof *results);
        uint32_t *runs = room(km_runs_of_pairs(&pairs), sizeof *runs), *next = runs;
        CHECK(km_combine_pairs(KM_DIFFERENCE, &pairs, runs, results, &n_runs, NULL));
        km_lay_out(results, n, runs);
        for (size_t k = 0; k < n; k++) {
            const km_mask *a = &masks[pairs.n_a == 1 ? 0 : k], *b = &masks[pairs.n_b == 1 ? 0 : k];
            uint32_t *one = room(a->n_runs + b->n_runs, sizeof *one);
            km_mask wanted = {one, km_combine(KM_DIFFERENCE, a, b, one), a->height, a->width};
            CHECK(km_equal(&results[k], &wanted, 1));
            next += wanted.n_runs;
            free(one);
        }
        CHECK(next == runs + n_runs);
        unsigned asked = 0;
        km_watch watch = {stop_at_once, &asked, 0};
        CHECK(!km_combine_pairs(KM_UNION, &pairs, runs, results, &n_runs, &watch));
        check_stopped(&watch, &asked);
        free(runs);
        free(results);
    }
}

void check_batch(uint32_t height, uint32_t width, size_t n)
{
    sample *samples = room(n, sizeof *samples);
    km_mask *masks = room(n, sizeof *masks);
    km_rle *rles = room(n, sizeof *rles);
    for (size_t i = 0; i < n; i++) {
        samples[i] = random_sample(height, width);
        masks[i] = samples[i].mask;
        rles[i] = (km_rle){NULL, masks[i].runs, masks[i].n_runs, height, width};
    }
    check_columns(masks, n);
    if (n > 0)
        check_stacks(masks, rles, samples, n);
    check_transforms_of_all(masks, n);
    check_pairs(masks, n);
    for (size_t i = 0; i < n; i++)
        discard(&samples[i]);
    free(rles);
    free(masks);
    free(samples);
}
