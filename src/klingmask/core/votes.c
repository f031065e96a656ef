/* Which of several groups of masks has the most masks at each pixel.
 *
 * Each end of a run is an event: from that pixel on, a mask has foreground, or no longer has it.
 * The events are sorted by place. A sweep over them counts, for each group, the masks that have
 * foreground, in a tournament tree whose root is the group that is ahead. So time and memory grow
 * with the runs of all masks, not with the square of the number of masks.
 */
#include "klingmask.h"

#include <string.h>

/* An event: the place in column-major order, the group, and whether a mask of the group has
 * foreground from there on. */
static uint64_t event_of(uint64_t place, uint32_t group, bool starts)
{
    return place << 32 | (uint64_t)group << 1 | starts;
}

static uint32_t place_of(uint64_t event)
{
    return (uint32_t)(event >> 32);
}

/* Sorts by place, one byte of it at a time (radix sort). `other` has room for n events. Returns the
 * array that holds the result, `events` or `other`. */
static uint64_t *sort_by_place(uint64_t *events, uint64_t *other, size_t n)
{
    for (unsigned shift = 32; shift < 64; shift += 8) {
        size_t starts[256] = {0}, next = 0;
        for (size_t i = 0; i < n; i++)
            starts[events[i] >> shift & 255]++;
        for (unsigned value = 0; value < 256; value++) {
            size_t count = starts[value];
            starts[value] = next;
            next += count;
        }
        for (size_t i = 0; i < n; i++)
            other[starts[events[i] >> shift & 255]++] = events[i];
        uint64_t *swap = events;
        events = other;
        other = swap;
    }
    return events;
}

static size_t leaves_for(uint32_t n_groups)
{
    size_t leaves = 1;
    while (leaves < n_groups)
        leaves *= 2;
    return leaves;
}

/* Counts one mask more, or one less, for a group. A node of the tree has the number of masks in its
 * upper half and the group in its lower half. So the larger node wins, and in a tie the group with
 * the larger number. */
static void count_vote(uint64_t *tree, size_t leaves, uint32_t group, bool starts)
{
    size_t node = leaves + group;
    tree[node] += starts ? UINT64_C(1) << 32 : 0 - (UINT64_C(1) << 32);
    while (node > 1) {
        uint64_t left = tree[node & ~(size_t)1], right = tree[node | 1];
        uint64_t winner = left > right ? left : right;
        node /= 2;
        if (tree[node] == winner)
            break;
        tree[node] = winner;
    }
}

#define NOBODY UINT32_MAX /* no group; not an enum, which in ISO C is an int */

static uint32_t group_ahead(const uint64_t *tree)
{
    return tree[1] >> 32 ? (uint32_t)tree[1] : NOBODY;
}

/* The scratch: two arrays of events, the tree, and the end of each group's last run. */
size_t km_plurality_scratch(const km_mask *masks, size_t n, uint32_t n_groups)
{
    return 2 * km_total_runs(masks, n) + 2 * leaves_for(n_groups) + n_groups;
}

size_t km_plurality_capacity(const km_mask *masks, size_t n, uint32_t n_groups)
{
    return 2 * km_total_runs(masks, n) + n_groups;
}

/* Lists the stretches of pixels that one group wins: start and group. They overwrite the events,
 * which are at least as many. Returns false if it was stopped. */
static bool list_stretches(uint64_t *events, size_t n_events, uint64_t *tree, size_t leaves,
                           size_t *n_stretches, km_watch *watch)
{
    size_t n = 0;
    uint32_t before = NOBODY;
    for (size_t i = 0; i < n_events;) {
        uint32_t place = place_of(events[i]);
        for (; i < n_events && place_of(events[i]) == place; i++)
            count_vote(tree, leaves, (uint32_t)events[i] >> 1, events[i] & 1);
        uint32_t winner = group_ahead(tree);
        if (winner != before)
            events[n++] = (uint64_t)place << 32 | winner;
        before = winner;
        if (km_stopped(watch, 32))
            return false;
    }
    *n_stretches = n;
    return true;
}

/* Writes the runs of each group's mask, one group after the other. */
static void write_winners(const uint64_t *stretches, size_t n, uint64_t *ends, uint32_t n_groups,
                          uint32_t *runs, km_mask *winners, uint64_t pixels)
{
    uint32_t *room = runs;
    for (uint32_t group = 0; group < n_groups; group++)
        winners[group].n_runs = 0;
    for (size_t i = 0; i < n; i++)
        if ((uint32_t)stretches[i] != NOBODY)
            winners[(uint32_t)stretches[i]].n_runs += 2;
    for (uint32_t group = 0; group < n_groups; group++) {
        winners[group].runs = room;
        room += winners[group].n_runs + 1;
        winners[group].n_runs = 0;
        ends[group] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t group = (uint32_t)stretches[i], start = place_of(stretches[i]);
        uint64_t end = i + 1 < n ? place_of(stretches[i + 1]) : pixels;
        if (group == NOBODY)
            continue;
        uint32_t *own = runs + (winners[group].runs - runs) + winners[group].n_runs;
        own[0] = start - (uint32_t)ends[group];
        own[1] = (uint32_t)(end - start);
        winners[group].n_runs += 2;
        ends[group] = end;
    }
    for (uint32_t group = 0; group < n_groups; group++)
        if (ends[group] < pixels || winners[group].n_runs == 0) {
            uint32_t *own = runs + (winners[group].runs - runs) + winners[group].n_runs++;
            *own = (uint32_t)(pixels - ends[group]);
        }
}

bool km_plurality(const km_mask *masks, const uint32_t *groups, size_t n, uint32_t n_groups,
                  uint32_t *runs, km_mask *winners, uint64_t *scratch, km_watch *watch)
{
    size_t n_events = 0, n_stretches = 0, total = km_total_runs(masks, n);
    size_t leaves = leaves_for(n_groups);
    uint64_t *events = scratch, *tree = scratch + 2 * total, *ends = tree + 2 * leaves;
    uint64_t pixels = n > 0 ? km_pixels(masks) : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t end = 0;
        for (size_t run = 0; run < masks[i].n_runs; run++) {
            end += masks[i].runs[run];
            if (end < pixels) /* the end of the image is no event */
                events[n_events++] = event_of(end, groups[i], run % 2 == 0);
        }
        if (km_stopped(watch, masks[i].n_runs))
            return false;
    }
    for (size_t node = 0; node < 2 * leaves; node++)
        tree[node] = node < leaves ? 0 : node - leaves;
    events = sort_by_place(events, scratch + total, n_events);
    if (!list_stretches(events, n_events, tree, leaves, &n_stretches, watch))
        return false;
    for (uint32_t group = 0; group < n_groups; group++)
        winners[group] = (km_mask){.height = masks->height, .width = masks->width};
    write_winners(events, n_stretches, ends, n_groups, runs, winners, pixels);
    return true;
}
