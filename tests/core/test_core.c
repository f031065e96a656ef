/* The C core against a reference that looks at every pixel, under the
 * sanitizers. Every buffer is allocated at exactly the size that the header
 * asks for, so that a byte too many is an error and not luck. */
#include "klingmask.h"
#include "simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long checks, by_bits, by_tiers, by_index, set_by_bits;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        checks++;                                                                                  \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint64_t state = 88172645463325252u;

static uint64_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(random_word() % n);
}

static void *room(size_t n, size_t item)
{
    void *memory = malloc(n * item); /* 0 bytes stay 0 bytes */
    CHECK(memory != NULL || n == 0);
    return memory;
}

/* A mask that owns its runs, and its pixels in column-major order. */
typedef struct {
    km_mask mask;
    uint32_t *runs;
    uint8_t *pixels;
} sample;

static void discard(sample *s)
{
    free(s->runs);
    free(s->pixels);
}

/* The runs of column-major pixels, one pixel after the other. */
static size_t reference_runs(const uint8_t *pixels, size_t n, uint32_t *runs)
{
    size_t count = 1;
    unsigned colour = 0;
    runs[0] = 0;
    for (size_t i = 0; i < n; i++) {
        if ((pixels[i] != 0) != colour) {
            colour ^= 1;
            runs[count++] = 0;
        }
        runs[count - 1]++;
    }
    return count;
}

/* Bands of whole rows: clear, full, or noise. */
static void draw_bands(sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    for (uint32_t y = 0, end; y < height; y = end) {
        uint32_t kind = below(3);
        end = y + (below(2) ? 64 * (1 + below(3)) : 1 + below(200)); /* as encoding looks, or not */
        end = end < height ? end : height;
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t i = y; i < end; i++)
                s->pixels[(size_t)x * height + i] = kind == 2 ? (uint8_t)below(2) : (uint8_t)kind;
    }
}

/* A few pixels in the void, or a few holes in all foreground. */
static void draw_dots(sample *s, size_t n, bool holes)
{
    memset(s->pixels, holes ? 255 : 0, n);
    for (uint32_t dots = below(4); dots > 0; dots--) {
        size_t first = below((uint32_t)n), some = 1 + below(below(2) ? 3 : 300);
        memset(s->pixels + first, holes ? 0 : 1 + (int)below(255),
               n - first < some ? n - first : some);
    }
}

/* Noise, of which an eighth is background. */
static void draw_noise(sample *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->pixels[i] = (uint8_t)below(8);
}

static sample random_sample(uint32_t height, uint32_t width)
{
    size_t n = (size_t)height * width;
    sample s = {{NULL, 0, height, width}, room(n + 1, sizeof(uint32_t)), room(n, 1)};
    uint32_t rarity = 1 + below(below(4) ? 60 : 2 * height + 1), kind = below(10);
    uint8_t colour = 0;
    for (size_t i = 0; i < n; i++) {
        if (kind > 1 && below(rarity) == 0)
            colour = colour ? 0 : (uint8_t)(1 + below(255));
        s.pixels[i] = kind == 0 ? 0 : kind == 1 ? 255 : colour;
    }
    if (kind == 2)
        draw_bands(&s);
    if ((kind == 3 || kind == 4) && n > 0)
        draw_dots(&s, n, kind == 4);
    if (kind == 5)
        draw_noise(&s, n);
    s.mask.n_runs = reference_runs(s.pixels, n, s.runs);
    s.mask.runs = s.runs;
    return s;
}

static void check_runs(const uint32_t *runs, size_t n, const km_mask *expected)
{
    CHECK(n == expected->n_runs);
    CHECK(memcmp(runs, expected->runs, n * sizeof *runs) == 0);
}

static void check_raster(const sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    size_t n = (size_t)height * width;
    uint8_t value = (uint8_t)(1 + below(255));

    size_t shift = below(64);
    uint8_t *moved = room(shift + n, 1), *columns = moved ? moved + shift : NULL;
    for (unsigned target = KM_TO_CORE; target <= KM_TO_MEMORY; target++) {
        if (n > 0)
            memset(columns, 7, n);
        km_decode_columns(&s->mask, value, (km_target)target, columns);
        for (size_t i = 0; i < n; i++)
            CHECK(columns[i] == (s->pixels[i] ? value : 0));
    }

    /* In and out of step with cache lines. */
    size_t stride = below(2) ? width : below(2) ? width + 1 + below(2) : (width + 63) / 64 * 64;
    size_t offset = below(64);
    size_t last = height ? (height - 1) * stride + width : 0;
    uint8_t *block = room(offset + last, 1), *rows = block ? block + offset : NULL;
    uint64_t *decoding = room(km_decode_rows_scratch(height, width), sizeof *decoding);
    for (unsigned way = 0; way < 2 * 3; way++) {
        bool cleared = way & 1;
        km_target target = (km_target)(way / 2);
        uint8_t before = cleared ? 0 : 7;
        if (last)
            memset(rows, before, last);
        km_decode_rows(&s->mask, value, cleared, target, rows, (ptrdiff_t)stride, decoding);
        for (size_t i = 0; i < last; i++) {
            size_t x = i % stride, y = i / stride;
            CHECK(rows[i] == (x >= width ? before : s->pixels[x * height + y] ? value : 0));
        }
    }
    free(decoding);

    uint64_t *scratch = room(km_scan_rows_scratch(height, width), sizeof *scratch);
    size_t found = km_scan_rows(rows, (ptrdiff_t)stride, height, width, scratch);
    uint32_t *runs = room(found, sizeof *runs);
    km_runs_rows(scratch, height, width, runs);
    check_runs(runs, found, &s->mask);
    free(runs);
    free(scratch);

    scratch = room(km_scan_columns_scratch(height, width), sizeof *scratch);
    found = km_scan_columns(s->pixels, height, width, scratch);
    runs = room(found, sizeof *runs);
    km_runs_columns(scratch, height, width, runs);
    check_runs(runs, found, &s->mask);
    free(runs);
    free(scratch);
    free(block);
    free(moved);
}

/* A pixel of a sample, background outside. */
static bool pixel_of(const sample *s, int64_t x, int64_t y)
{
    int64_t height = s->mask.height, width = s->mask.width;
    return x >= 0 && y >= 0 && x < width && y < height && s->pixels[x * height + y];
}

/* The runs of what `pixel` says of every place, against `runs`. */
static void check_grid(const uint32_t *runs, size_t n, const uint8_t *expected, uint32_t height,
                       uint32_t width)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(i == 0 || runs[i] > 0);
        for (uint32_t j = 0; j < runs[i]; j++)
            CHECK(expected[at++] == (i & 1));
    }
    CHECK(at == (uint64_t)height * width);
}

static void check_transforms(const sample *s)
{
    uint32_t old_height = s->mask.height, old_width = s->mask.width;
    for (unsigned kind = 0; kind < 4; kind++) {
        uint32_t height = old_height, width = old_width;
        int64_t x = (int64_t)below(2 * width + 3) - width,
                y = (int64_t)below(2 * height + 3) - height;
        if (kind == 0 || kind == 3) {
            height = below(2 * height + 3);
            width = below(2 * width + 3);
        }
        uint8_t *grid = room((size_t)height * width, 1);
        for (uint32_t c = 0; c < width; c++)
            for (uint32_t r = 0; r < height; r++) {
                int64_t from_x = kind == 0   ? c + x
                                 : kind == 1 ? (int64_t)old_width - 1 - c
                                 : kind == 2 ? c
                                             : (int64_t)((uint64_t)c * old_width / width);
                int64_t from_y = kind == 0  ? r + y
                                 : kind < 3 ? (int64_t)old_height - 1 - r
                                            : (int64_t)((uint64_t)r * old_height / height);
                grid[(size_t)c * height + r] = pixel_of(s, from_x, from_y);
            }
        uint32_t *scratch = room(s->mask.n_runs, sizeof *scratch);
        uint64_t capacity = kind == 1   ? s->mask.n_runs + 1
                            : kind == 3 ? km_resize_capacity(&s->mask, height, width, scratch)
                            : kind == 2 ? km_flip_capacity(&s->mask)
                                        : km_shift_capacity(&s->mask, x, y, height, width);
        uint32_t *runs = room((size_t)capacity, sizeof *runs);
        size_t n = kind == 0   ? km_shift(&s->mask, x, y, height, width, runs)
                   : kind == 1 ? km_turn(&s->mask, runs)
                   : kind == 2 ? km_flip_rows(&s->mask, runs, scratch)
                               : km_resize(&s->mask, height, width, runs, scratch);
        CHECK(n <= capacity);
        check_grid(runs, n, grid, height, width);
        free(scratch);
        free(runs);
        free(grid);
    }
}

static bool within(const sample *s, uint32_t x, uint32_t y, uint32_t steps)
{
    int64_t reach = steps;
    for (int64_t dx = -reach; dx <= reach; dx++)
        for (int64_t dy = -reach; dy <= reach; dy++)
            if ((dx < 0 ? -dx : dx) + (dy < 0 ? -dy : dy) <= reach && !pixel_of(s, x + dx, y + dy))
                return false;
    return true;
}

/* The formula of blend.c's head, pixel by pixel. */
static void blend_plainly(uint8_t *pixel, unsigned channels, const uint8_t *color, unsigned alpha)
{
    double a = alpha / 255.0, under = channels == 4 ? pixel[3] / 255.0 : 1,
           cover = a + under * (1 - a);
    for (unsigned i = 0; i < 3 && alpha > 0; i++) {
        double mixed = (color[i] * a + pixel[i] * under * (1 - a)) / cover;
        pixel[i] = (uint8_t)(mixed + 0.5 + 1e-9);
    }
    if (channels == 4)
        pixel[3] = (uint8_t)(cover * 255 + 0.5 + 1e-9);
}

enum { LAYERS = 4 };

/* More than a layer takes: its header, three times the bits of its box. */
static size_t room_for(const km_layer *layer)
{
    km_box box = km_bounds(layer->mask);
    return 256 + 3 * (size_t)box.height * km_words(box.width);
}

static void check_blend(const sample *a, const sample *b)
{
    uint32_t height = a->mask.height, width = a->mask.width;
    unsigned channels = 3 + below(2);
    size_t stride = (size_t)width * channels + below(5),
           n = height ? (height - 1) * stride + (size_t)width * channels : 0;
    uint8_t *image = room(n, 1), *expected = room(n, 1);
    bool opaque = below(2);
    for (size_t i = 0; i < n; i++)
        image[i] = (uint8_t)(opaque && i % stride % 4 == 3 ? 255 : below(256));
    if (n)
        memcpy(expected, image, n);
    km_layer layers[LAYERS];
    for (unsigned i = 0; i < LAYERS; i++) {
        layers[i] =
            (km_layer){i % 2 ? &b->mask : &a->mask, {0, 0, 0, 255}, 0, below(4) ? 0 : 1 + below(9)};
        if (below(50) == 0)
            layers[i].outline = 1 + below(150); /* over words, and over the mask */
        for (unsigned j = 0; j < 3; j++)
            layers[i].color[j] = (uint8_t)below(256);
        layers[i].opacity = (uint8_t)(below(4) ? below(256) : 255);
    }
    for (unsigned i = 0; i < LAYERS; i++)
        for (uint32_t y = 0; y < height; y++)
            for (uint32_t x = 0; x < width; x++) {
                const sample *s = i % 2 ? b : a;
                if (!pixel_of(s, x, y))
                    continue;
                bool line = layers[i].outline && !within(s, x, y, layers[i].outline);
                blend_plainly(expected + y * stride + (size_t)x * channels, channels,
                              layers[i].color, line ? 255 : layers[i].opacity);
            }
    /* Room for all layers, or for hardly more than one: then they are laid in groups. */
    size_t words = 0;
    for (unsigned i = 0; i < LAYERS; i++)
        if (words < room_for(&layers[i]))
            words = room_for(&layers[i]);
    if (below(2))
        words = km_blend_scratch(layers, LAYERS);
    uint64_t *scratch = room(words, sizeof *scratch);
    CHECK(km_blend(layers, LAYERS, channels, image, (ptrdiff_t)stride, scratch, words, NULL));
    CHECK(n == 0 || memcmp(image, expected, n) == 0);
    free(scratch);
    free(expected);
    free(image);
}

static void check_render(const sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    size_t n = (size_t)height * width * 4;
    uint8_t *image = room(n, 1), color[4] = {1, 2, 3, (uint8_t)below(256)};
    uint64_t *scratch = room(km_render_scratch(&s->mask), sizeof *scratch);
    if (n)
        memset(image, 7, n);
    km_render(&s->mask, color, image, scratch);
    for (size_t i = 0; i < n; i++)
        CHECK(image[i] ==
              (pixel_of(s, (int64_t)(i / 4 % width), (int64_t)(i / 4 / width)) ? color[i % 4] : 0));
    free(scratch);
    free(image);
}

static bool read_one(const char *text, size_t length, const km_mask *size, bool strict,
                     uint32_t **runs, km_mask *mask, km_failure *failure)
{
    char *exact = room(length, 1);
    if (length)
        memcpy(exact, text, length);
    km_source source = {length ? exact : "", NULL, length, size->height, size->width};
    *runs = room(km_read_capacity(&source) + KM_READ_SLACK, sizeof **runs);
    uint64_t area;
    bool fine = km_read(&source, strict, *runs, mask, &area, failure);
    if (fine) {
        CHECK(mask->runs == *runs);
        CHECK(mask->n_runs <= km_read_capacity(&source));
        CHECK(area == km_area(mask));
    }
    free(exact);
    return fine;
}

static void check_canonical(const km_mask *mask)
{
    uint64_t sum = mask->runs[0];
    CHECK(mask->n_runs >= 1);
    for (size_t i = 1; i < mask->n_runs; i++) {
        CHECK(mask->runs[i] > 0);
        sum += mask->runs[i];
    }
    CHECK(sum == km_pixels(mask));
}

static void check_counts(const sample *s)
{
    char *text = room(km_format_capacity(s->mask.n_runs), 1);
    size_t length = km_format(s->mask.runs, s->mask.n_runs, text);
    CHECK(length <= km_format_capacity(s->mask.n_runs));
    km_mask mask;
    km_failure failure;
    uint32_t *runs;
    CHECK(read_one(text, length, &s->mask, true, &runs, &mask, &failure));
    check_runs(mask.runs, mask.n_runs, &s->mask);
    free(runs);
    for (unsigned i = 0; i < 8 && length; i++) {
        char *mutated = room(length, 1);
        memcpy(mutated, text, length);
        size_t cut = below(4) ? length : below((uint32_t)length);
        for (uint32_t hits = below(3); hits > 0; hits--)
            mutated[below((uint32_t)length)] = (char)(below(8) ? 48 + below(64) : below(256));
        for (unsigned strict = 0; strict < 2; strict++) {
            if (read_one(mutated, cut, &s->mask, strict, &runs, &mask, &failure)) {
                check_canonical(&mask);
            } else {
                CHECK(failure.fault != KM_OK && failure.source == 0);
                CHECK(failure.position <= cut);
            }
            free(runs);
        }
        free(mutated);
    }
    free(text);
}

static void check_measures(const sample *s)
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

static void check_pair(const sample *a, const sample *b)
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

/* By runs where few meet, else by bits or tiers. */
static void check_iou(const sample *a, const sample *b)
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
        km_shape shapes[2 * MANY];
        double iou[MANY * MANY];
        size_t words = km_iou_prepare(first, many, second, many, shapes);
        uint64_t *scratch = room(words, sizeof *scratch);
        CHECK(km_iou(shapes, many, many, scratch, iou, NULL));
        CHECK(many > 1 || (!shapes[0].bits && !shapes[0].n_tiers));
        by_bits += shapes[0].bits && shapes[many].bits;
        by_tiers += shapes[0].n_tiers && shapes[many].n_tiers;
        for (size_t i = 0; i < many * many; i++)
            CHECK(iou[i] == (either ? (double)both / (double)either : 0.0));
        free(scratch);
    }
}

static bool stop_at_once(void *context)
{
    ++*(unsigned *)context;
    return true;
}

/* A mask of many runs and some of a few, which span so many columns that bits are not worth it. */
static void check_iou_by_index(void)
{
    enum { MASKS = 5 };
    uint32_t height = 1 + below(70), width = 2000 + below(2000);
    size_t n = (size_t)height * width;
    sample samples[MASKS];
    for (size_t i = 0; i < MASKS; i++) {
        samples[i] = random_sample(height, width);
        if (i == 0)
            draw_noise(&samples[i], n);
        else
            draw_dots(&samples[i], n, below(4) == 0);
        samples[i].pixels[0] = samples[i].pixels[n - 1] = (uint8_t)below(2);
        samples[i].mask.n_runs = reference_runs(samples[i].pixels, n, samples[i].runs);
    }
    for (unsigned swapped = 0; swapped < 2; swapped++) {
        km_mask masks[2 * MASKS];
        km_shape shapes[MASKS];
        double iou[MASKS];
        for (size_t i = 0; i < 2 * MASKS; i++)
            masks[i] = samples[(i + swapped) % MASKS].mask; /* the one of many runs first, or last */
        size_t n_a = swapped ? MASKS - 1 : 1, n_b = MASKS - n_a, many = swapped ? MASKS - 1 : 0;
        uint64_t *scratch =
            room(km_iou_prepare(masks, n_a, masks + n_a, n_b, shapes), sizeof *scratch);
        CHECK(km_iou(shapes, n_a, n_b, scratch, iou, NULL));
        by_index += shapes[many].ends != NULL;
        for (size_t i = 1; i < MASKS; i++) {
            uint64_t both = 0, either = 0;
            for (size_t k = 0; k < n; k++) {
                both += samples[0].pixels[k] && samples[i].pixels[k];
                either += samples[0].pixels[k] || samples[i].pixels[k];
            }
            CHECK(iou[i - 1] == (either ? (double)both / (double)either : 0.0));
        }
        unsigned asked = 0;
        km_watch watch = {stop_at_once, &asked, 0};
        km_iou_prepare(masks, n_a, masks + n_a, n_b, shapes);
        CHECK(!km_iou(shapes, n_a, n_b, scratch, iou, &watch) && asked == 1);
        free(scratch);
    }
    for (size_t i = 0; i < MASKS; i++)
        discard(&samples[i]);
}

/* Groups of masks, against counting at each pixel. */
static void check_plurality(uint32_t height, uint32_t width, size_t n)
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

/* Sources one after the other through the same memory, against the masks that they are. */
static void check_measuring(const km_mask *masks, size_t n)
{
    km_source *sources = room(n + 1, sizeof *sources);
    int64_t *areas = room(n + 1, sizeof *areas), *boxes = room(4 * n, sizeof *boxes);
    for (size_t i = 0; i <= n; i++) { /* the last is one too long */
        const km_mask *mask = &masks[i < n ? i : 0];
        char *text = room(km_format_capacity(mask->n_runs) + 1, 1);
        size_t length = km_format(mask->runs, mask->n_runs, text);
        if (i == n)
            text[length++] = '1';
        sources[i] = (km_source){text, NULL, length, mask->height, mask->width};
    }
    km_batch batch = km_survey(sources, n + 1);
    uint32_t *runs = room(batch.largest + KM_READ_SLACK, sizeof *runs);
    CHECK(batch.same == n + 1 && km_count_same_size(masks, n) == n);
    CHECK(batch.total >= batch.largest && batch.total <= (n + 1) * batch.largest);
    sources[n].width++;
    CHECK(km_survey(sources, n + 1).same == n);
    sources[n].width--;
    sources[n].height++;
    CHECK(km_survey(sources, n + 1).same == n);
    sources[n].height--;
    km_failure failure;
    CHECK(km_measure(sources, n, runs, areas, NULL, &failure));
    CHECK(km_measure(sources, n, runs, NULL, boxes, &failure));
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(&masks[i]);
        int64_t wanted[4] = {box.x, box.y, box.width, box.height};
        CHECK(areas[i] == (int64_t)km_area(&masks[i]));
        CHECK(memcmp(&boxes[4 * i], wanted, sizeof wanted) == 0);
    }
    CHECK(!km_measure(sources, n + 1, runs, areas, NULL, &failure) && failure.source == n);
    for (size_t i = 0; i <= n; i++)
        free((void *)sources[i].chars);
    free(sources);
    free(areas);
    free(boxes);
    free(runs);
}

/* The kernel of unions and intersections that go by bits, counted. */
static void (*set_runs)(const uint32_t *, size_t, uint64_t, uint64_t, uint64_t, uint64_t *);

static void set_runs_counted(const uint32_t *runs, size_t n, uint64_t start, uint64_t from,
                             uint64_t to, uint64_t *bits)
{
    set_by_bits++;
    set_runs(runs, n, start, from, to, bits);
}

/* Leaves no foreground but in the pixels from..to - 1. */
static void confine(sample *s, size_t from, size_t to)
{
    size_t n = (size_t)km_pixels(&s->mask);
    for (size_t i = 0; i < n; i++)
        s->pixels[i] = i >= from && i < to ? s->pixels[i] : 0;
    s->mask.n_runs = reference_runs(s->pixels, n, s->runs);
}

static void check_many(uint32_t height, uint32_t width, size_t n)
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
    check_measuring(masks, n);
    uint32_t *runs = room(total, sizeof *runs);
    uint64_t *scratch = room(km_combine_all_scratch(masks, n), sizeof *scratch);
    size_t found = km_combine_all(KM_UNION, masks, n, runs, scratch);
    km_mask wanted = {expected, reference_runs(any, pixels, expected), height, width};
    check_runs(runs, found, &wanted);
    found = km_combine_all(KM_INTERSECTION, masks, n, runs, scratch);
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

static void expect_fault(const char *text, uint32_t height, uint32_t width, km_fault fault,
                         size_t position)
{
    km_mask size = {NULL, 0, height, width}, mask;
    km_failure failure;
    uint32_t *runs;
    CHECK(!read_one(text, strlen(text), &size, true, &runs, &mask, &failure));
    CHECK(failure.fault == fault);
    CHECK(failure.position == position);
    free(runs);
}

static void check_faults(void)
{
    expect_fault("!", 1, 1, KM_BAD_CHARACTER, 0);
    expect_fault("1\x7f", 1, 1, KM_BAD_CHARACTER, 1);
    expect_fault("1p", 1, 1, KM_BAD_CHARACTER, 1);
    expect_fault("1P", 1, 1, KM_CUT_CODE, 1);
    expect_fault("1P0", 2, 2, KM_LONG_CODE, 1);       /* 0 with a group to spare */
    expect_fault("1PPPPPPP0", 2, 2, KM_LONG_CODE, 1); /* beyond any 32-bit run */
    expect_fault("O", 2, 2, KM_NEGATIVE_RUN, 0);      /* -1 */
    expect_fault("111M", 9, 9, KM_NEGATIVE_RUN, 3);   /* 1 - 3 */
    expect_fault("14", 2, 2, KM_OVERSHOOT, 1);
    expect_fault("PPPPPP2", 65535, 65535, KM_SHORT, 7); /* one run of 2**31 */
    expect_fault("", 2, 2, KM_SHORT, 0);
    expect_fault("11", 2, 2, KM_SHORT, 2);
}

/* Faults where vectors read, at each of their places. */
static void check_faults_among_many(void)
{
    enum { CODES = 70, MANY = 512 };
    char text[3 * 7 + 64 + MANY + 1];
    for (size_t place = 3; place < CODES; place++) {
        memset(text, '1', 3);
        memset(text + 3, '0', CODES - 3);
        text[CODES] = 0;
        text[place] = 'p';
        expect_fault(text, 70, 70, KM_BAD_CHARACTER, place);
        text[place] = 'P'; /* a code that goes on, with a group to spare */
        if (place + 1 < CODES)
            expect_fault(text, 70, 70, KM_LONG_CODE, place);
    }
    /* So many runs that 32 bits do not hold what they add up to. */
    uint32_t runs[3] = {1 << 27, 1 << 27, 1 << 27};
    size_t length = km_format(runs, 3, text);
    memset(text + length, '0', MANY);
    text[length + MANY] = 0;
    expect_fault(text, 3 << 13, 1 << 14, KM_OVERSHOOT, length);
    /* A difference that takes a run past 2**32, where 5 would do: ']6' is 205 and '^4' is 142. */
    uint32_t far[3] = {50, UINT32_MAX - 199, 1};
    length = km_format(far, 3, text);
    memcpy(text + length, "]6^4", 5);
    expect_fault(text, 65535, 65537, KM_OVERSHOOT, length);
}

/* Masks of a few runs over an image in which one has many: many of them do not each write all bits.
 */
static void check_lopsided(void)
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
        unsigned long before = set_by_bits;
        uint64_t *scratch = room(km_combine_all_scratch(masks, n), sizeof *scratch);
        uint32_t *runs = room(km_total_runs(masks, n), sizeof *runs);
        CHECK(km_combine_all(KM_UNION, masks, n, runs, scratch) == 3);
        CHECK(runs[0] == 1 && runs[1] == height * width - 3 && runs[2] == 2);
        CHECK((set_by_bits > before) == (n < MANY));
        free(runs);
        free(scratch);
    }
    free(dense);
}

/* Two masks lack the same pixel and a third has it, and the reverse of that. */
static void check_last_pixels(void)
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
        CHECK(km_combine_all(KM_UNION, whole, 3, runs, scratch) == 2);
        CHECK(runs[0] == 0 && runs[1] == PIXELS);
        free(scratch);
        scratch = room(km_combine_all_scratch(none, 3), sizeof *scratch);
        CHECK(km_combine_all(KM_INTERSECTION, none, 3, runs, scratch) == 1);
        CHECK(runs[0] == PIXELS);
        free(scratch);
    }
}

/* What fills columns from top to bottom takes no work, and no room, for each of them. */
static void check_full(const km_mask *full)
{
    uint32_t height = full->height, width = full->width, runs[8], scratch[2];
    km_box box = {0, 0, width, height};
    CHECK(km_box_capacity(box, height) <= 8 && km_flip_capacity(full) <= 8);
    check_runs(runs, km_box_runs(box, height, width, runs), full);
    check_runs(runs, km_flip_rows(full, runs, scratch), full);
    CHECK(km_resize_capacity(full, 3, 5, scratch) <= 8);
    CHECK(km_resize(full, 3, 5, runs, scratch) == 2 && runs[0] == 0 && runs[1] == 15);
    CHECK(km_resize_capacity(full, height, width, scratch) <= 8);
    check_runs(runs, km_resize(full, height, width, runs, scratch), full);
    double x, y;
    km_centroid(full, &x, &y);
    CHECK(x == width / 2.0 && y == height / 2.0);
    CHECK(km_shift_capacity(full, -2, 0, height, width) <= 8);
    if (width > 2) {
        CHECK(km_shift(full, -2, 0, height, width, runs) == 2);
        CHECK(runs[0] == 2 * height && runs[1] == full->runs[1] - 2 * height);
    }
}

/* Sizes near 2**32 pixels: numbers must not wrap. */
static void check_huge(void)
{
    uint32_t sizes[][2] = {{UINT32_MAX, 1}, {1, UINT32_MAX}, {65535, 65537}};
    for (unsigned i = 0; i < 3; i++) {
        uint32_t height = sizes[i][0], width = sizes[i][1], all = UINT32_MAX;
        uint32_t whole[2] = {0, all}, odd[3] = {all - 2, 1, 1};
        km_mask full = {whole, 2, height, width}, dot = {odd, 3, height, width};
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
        size_t length = km_format(odd, 3, text);
        CHECK(read_one(text, length, &dot, true, &back, &mask, &failure));
        check_runs(mask.runs, mask.n_runs, &dot);
        free(back);
        check_full(&full);
    }
    /* A pixel in each of the last columns, of so many that floats do not tell which it is. */
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

/* Images of two parts, which meet where what is looked at at once ends, or next to it, in either
 * memory order. */
static void check_ends(void)
{
    size_t ends[] = {1024, 16384, 32768, 65536, 81920, 131072}, height = 1024, width = 150,
           n = height * width;
    for (unsigned i = 0; i < 6 * 3 * 2 * 2; i++) {
        size_t end = ends[i / 12] + i / 4 % 3 - 1;
        bool rows = i & 1, after = i & 2;
        sample s = {{NULL, 0, (uint32_t)height, (uint32_t)width},
                    room(n + 1, sizeof(uint32_t)),
                    room(n, 1)};
        for (size_t j = 0; j < n; j++)
            s.pixels[j] = ((rows ? j % height * width + j / height : j) < end) != after;
        s.mask.n_runs = reference_runs(s.pixels, n, s.runs);
        s.mask.runs = s.runs;
        check_raster(&s);
        discard(&s);
    }
}

static void check_everything(void)
{
    check_ends();
    check_faults();
    check_faults_among_many();
    check_lopsided();
    check_last_pixels();
    check_huge();
    uint32_t edges[] = {0, 1, 2, 7, 8, 9, 63, 64, 65};
    for (unsigned i = 0; i < 9; i++)
        for (unsigned j = 0; j < 9; j++)
            for (unsigned k = 0; k < 4; k++) {
                sample s = random_sample(edges[i], edges[j]);
                check_raster(&s);
                check_counts(&s);
                check_measures(&s);
                discard(&s);
            }
    /* About as many pixels as are looked at at once, and several times that. */
    uint32_t large[][2] = {{256, 256}, {255, 257}, {257, 256}, {700, 300}, {90, 3000}, {64, 1024}};
    for (unsigned i = 0; i < 6; i++)
        for (unsigned k = 0; k < 20; k++) {
            sample s = random_sample(large[i][0], large[i][1]);
            check_raster(&s);
            discard(&s);
        }
    for (unsigned i = 0; i < 1500; i++) {
        uint32_t height = below(i % 10 ? 60 : 5), width = below(i % 7 ? 60 : 1500);
        if (i % 25 == 0)
            width += 1024; /* over many words */
        sample a = random_sample(height, width), b = random_sample(height, width);
        check_raster(&a);
        check_counts(&a);
        check_measures(&a);
        check_pair(&a, &b);
        check_iou(&a, &b);
        if (i % 3 == 0) {
            check_transforms(&a);
            check_blend(&a, &b);
            check_render(&a);
        }
        discard(&a);
        discard(&b);
        if (i % 20 == 0)
            check_many(height, width, 1 + below(9));
        if (i % 20 == 1) {
            check_plurality(height, width, 1 + below(9));
            check_iou_by_index();
        }
        if (i % 25 == 0) /* more words than are listed at once */
            check_many(150, 120 + below(120), 3 + below(3));
        if (i % 10 == 0) {
            a = random_sample(1 + below(4), KM_FEW_COLUMNS - 5 + below(50));
            check_transforms(&a);
            discard(&a);
        }
        if (i % 3 == 0) { /* tall: a piece or two in a column */
            height = 500 + below(1500);
            width = 1 + below(i % 9 ? 40 : 200);
            a = random_sample(height, width);
            b = random_sample(height, width);
            check_raster(&a);
            check_iou(&a, &b);
            discard(&a);
            discard(&b);
        }
    }
}

int main(void)
{
    static const char *levels[] = {"scalar", "avx2", "avx512"};
    bool one_place = km_simd_select("avx512"); /* as the processor has it, at all levels */
    km_kernels before = km_simd;
    CHECK(!km_simd_select("none"));
    CHECK(before.name == km_simd.name && before.interleave == km_simd.interleave);
    for (unsigned i = 0; i < 2 * 3; i++) {
        const char *level = levels[i / 2], *how = i % 2 ? "memory in turns" : "one place at a time";
        if (!km_simd_select(level)) {
            printf("core: this machine has no %s\n", level);
            continue;
        }
        CHECK(strcmp(km_simd.name, level) == 0 && km_simd.interleave == !one_place);
        km_simd.interleave = i % 2; /* whatever is best here */
        set_runs = km_simd.set_runs;
        km_simd.set_runs = set_runs_counted;
        checks = 0;
        by_bits = by_tiers = by_index = set_by_bits = 0;
        check_everything();
        CHECK(by_bits > 100 && by_tiers > 50 && by_index > 100 && set_by_bits > 500);
        printf("core: %lu checks hold with %s, %s\n", checks, level, how);
    }
    return 0;
}
