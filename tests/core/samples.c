/* Random masks, and masks as the other tests need them. */
#include "harness.h"

static uint64_t state = 88172645463325252u;

/* Xorshift, as G. Marsaglia published it. */
static uint64_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

uint32_t below(uint32_t n)
{
    return (uint32_t)(random_word() % n);
}

void *room(size_t n, size_t item)
{
    void *memory = malloc(n * item);
    CHECK(memory != NULL || n == 0);
    return memory;
}

void discard(sample *s)
{
    free(s->runs);
    free(s->pixels);
}

size_t reference_runs(const uint8_t *pixels, size_t n, uint32_t *runs)
{
    size_t count = 1;
    unsigned foreground = 0;
    runs[0] = 0;
    for (size_t i = 0; i < n; i++) {
        if ((pixels[i] != 0) != foreground) {
            foreground ^= 1;
            runs[count++] = 0;
        }
        runs[count - 1]++;
    }
    return count;
}

void find_runs(sample *s)
{
    s->mask.n_runs = reference_runs(s->pixels, (size_t)km_pixels(&s->mask), s->runs);
    s->mask.runs = s->runs;
}

/* Stripes of whole rows: background, foreground, or noise. Half of them have a multiple of 64 rows,
 * as the tiles of encoding do. */
static void draw_stripes(sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    for (uint32_t y = 0, end; y < height; y = end) {
        uint32_t kind = below(3);
        end = y + (below(2) ? 64 * (1 + below(3)) : 1 + below(200));
        end = end < height ? end : height;
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t i = y; i < end; i++)
                s->pixels[(size_t)x * height + i] = kind == 2 ? (uint8_t)below(2) : (uint8_t)kind;
    }
}

void draw_dots(uint8_t *pixels, size_t n, bool holes)
{
    memset(pixels, holes ? 255 : 0, n);
    for (uint32_t dots = below(4); dots > 0; dots--) {
        size_t first = below((uint32_t)n), some = 1 + below(below(2) ? 3 : 300);
        memset(pixels + first, holes ? 0 : 1 + (int)below(255),
               n - first < some ? n - first : some);
    }
}

void draw_noise(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)below(8);
}

/* Runs of about `rarity` pixels. */
static void draw_runs(uint8_t *pixels, size_t n, uint32_t rarity)
{
    uint8_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (below(rarity) == 0)
            value = value ? 0 : (uint8_t)(1 + below(255));
        pixels[i] = value;
    }
}

sample random_sample(uint32_t height, uint32_t width)
{
    size_t n = (size_t)height * width;
    sample s = {{NULL, 0, height, width}, room(n + 1, sizeof(uint32_t)), room(n, 1)};
    uint32_t rarity = 1 + below(below(4) ? 60 : 2 * height + 1), kind = below(10);
    if (n > 0 && kind < 2)
        memset(s.pixels, kind == 0 ? 0 : 255, n);
    else if (kind == 2)
        draw_stripes(&s);
    else if (n > 0 && (kind == 3 || kind == 4))
        draw_dots(s.pixels, n, kind == 4);
    else if (kind == 5)
        draw_noise(s.pixels, n);
    else
        draw_runs(s.pixels, n, rarity);
    find_runs(&s);
    return s;
}

void check_runs(const uint32_t *runs, size_t n, const km_mask *expected)
{
    CHECK(n == expected->n_runs);
    CHECK(memcmp(runs, expected->runs, n * sizeof *runs) == 0);
}

void check_canonical(const km_mask *mask)
{
    uint64_t sum = mask->runs[0];
    CHECK(mask->n_runs >= 1);
    for (size_t i = 1; i < mask->n_runs; i++) {
        CHECK(mask->runs[i] > 0);
        sum += mask->runs[i];
    }
    CHECK(sum == km_pixels(mask));
}

bool pixel_of(const sample *s, int64_t x, int64_t y)
{
    int64_t height = s->mask.height, width = s->mask.width;
    return x >= 0 && y >= 0 && x < width && y < height && s->pixels[x * height + y];
}

bool stop_at_once(void *asked)
{
    ++*(unsigned *)asked;
    return true;
}
