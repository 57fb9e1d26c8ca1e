/* server/number.c - decimal int64, there and back. */
#include "server/number.h"

bool number_parse(struct kv_bytes text, int64_t *out)
{
    bool minus = text.len > 0 && text.data[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + (minus ? 1 : 0);
    uint64_t value = 0;

    if (text.len == (minus ? 1 : 0) || text.len > NUMBER_BYTES_MAX) {
        return false;
    }
    for (size_t i = minus ? 1 : 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';

        if (digit > 9 || value > (limit - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = (int64_t)(minus ? 0 - value : value);
    return true;
}

size_t number_print(int64_t number, uint8_t *out)
{
    uint8_t digits[NUMBER_BYTES_MAX];
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t count = 0;
    size_t at = 0;

    do {
        digits[count++] = (uint8_t)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        out[at++] = '-';
    }
    while (count > 0) {
        out[at++] = digits[--count];
    }
    return at;
}
