/* raft/base/crc.c - the SSE4.2 instruction where there is one, else small tables.
 *
 * The instruction takes three cycles, and a new one may begin in each. So what is long
 * is cut into three lanes side by side, and their sums are put together: a lane that
 * stands `w` words before the end is multiplied by x^(64 w), modulo the polynomial.
 */
#include "raft/base/crc.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "raft/base/check.h"

/* CRC32C of each 4-bit value, reflected polynomial 0x82f63b78. */
static const uint32_t crc32c_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
    0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

/* CRC16/XMODEM of each 4-bit value. */
static const uint16_t crc16_nibble[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

static uint32_t crc32c_soft(uint32_t crc, const uint8_t *p, size_t len)
{
    while (len-- > 0) {
        crc ^= *p++;
        crc = (crc >> 4) ^ crc32c_nibble[crc & 15];
        crc = (crc >> 4) ^ crc32c_nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
enum {
    CRC_LANE_WORDS_MIN = 4,  /* Shorter lanes do not pay for the multiplication. */
    CRC_LANE_WORDS_MAX = 42, /* A kibibyte in three lanes. */
};

/* [w - 1]: x^(64 w - 33) modulo the polynomial, reflected. The instruction brings the
 * 33 back when it reduces the product. */
static const uint32_t crc32c_ahead[2 * CRC_LANE_WORDS_MAX] = {
    0x00000001, 0x493c7d27, 0xf20c0dfe, 0xba4fc28e, 0x3da6d0cb, 0xddc0152b, 0x1c291d04,
    0x9e4addf8, 0x740eef02, 0x39d3b296, 0x083a6eec, 0x0715ce53, 0xc49f4f67, 0x47db8317,
    0x2ad91c30, 0x0d3b6092, 0x6992cea2, 0xc96cfdc0, 0x7e908048, 0x878a92a7, 0x1b3d8f29,
    0xdaece73e, 0xf1d0f55e, 0xab7aff2a, 0xa87ab8a8, 0x2162d385, 0x8462d800, 0x83348832,
    0x71d111a8, 0x299847d5, 0xffd852c6, 0xb9e02b86, 0xdcb17aa4, 0x18b33a4e, 0xf37c5aee,
    0xb6dd949b, 0x6051d5a2, 0x78d9ccb7, 0x18b0d4ff, 0xbac2fd7b, 0x21f3d99c, 0xa60ce07b,
    0x8f158014, 0xce7f39f4, 0xa00457f7, 0x61d82e56, 0x8d6d2c43, 0xd270f1a2, 0x00ac29cf,
    0xc619809d, 0xe9adf796, 0x2b3cac5d, 0x96638b34, 0x65863b64, 0xe0e9f351, 0x1b03397f,
    0x9af01f2d, 0xebb883bd, 0x2cff42cf, 0xb3e32c28, 0x88f25a3a, 0x064f7f26, 0x4e36f0b0,
    0xdd7e3b0c, 0xbd6f81f8, 0xf285651c, 0x91c9bd4b, 0x10746f3c, 0x885f087b, 0xc7a68855,
    0x4c144932, 0x271d9844, 0x52148f02, 0x8e766a0c, 0xa3c6f37a, 0x93a5f730, 0xd7c0557f,
    0x6cb08e5c, 0x63ded06a, 0x6b749fb2, 0x4d56973c, 0x1393e203, 0x9669c9df, 0xcec3662e,
};

static uint64_t word_at(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, 8);
    return word;
}

/* The product that stands for `crc`, `words` words further on; not reduced yet. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t ahead(uint64_t crc,
                                                               size_t words)
{
    __m128i a = _mm_cvtsi64_si128((long long)crc);
    __m128i b = _mm_cvtsi32_si128((int)crc32c_ahead[words - 1]);

    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(a, b, 0));
}

/* Takes 3 * lane words. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t lanes_take(uint64_t crc,
                                                                    const uint8_t *p,
                                                                    size_t lane)
{
    uint64_t second = 0;
    uint64_t third = 0;

    for (size_t i = 0; i < lane; i++) {
        crc = __builtin_ia32_crc32di(crc, word_at(p + 8 * i));
        second = __builtin_ia32_crc32di(second, word_at(p + 8 * (lane + i)));
        third = __builtin_ia32_crc32di(third, word_at(p + 8 * (2 * lane + i)));
    }
    return __builtin_ia32_crc32di(0, ahead(crc, 2 * lane) ^ ahead(second, lane)) ^
           third;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc,
                                                               const uint8_t *p,
                                                               size_t len)
{
    uint64_t wide = crc;

    while (len >= 8) {
        wide = __builtin_ia32_crc32di(wide, word_at(p));
        p += 8;
        len -= 8;
    }
    crc = (uint32_t)wide;
    while (len-- > 0) {
        crc = __builtin_ia32_crc32qi(crc, *p++);
    }
    return crc;
}
#endif

uint32_t kv_crc32c(uint32_t crc, const void *data, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
        const uint8_t *p = data;

        while (len / 24 >= CRC_LANE_WORDS_MIN) {
            size_t lane = KV_MIN(len / 24, (size_t)CRC_LANE_WORDS_MAX);

            crc = (uint32_t)lanes_take(crc, p, lane);
            p += 24 * lane;
            len -= 24 * lane;
        }
        return ~crc32c_sse42(crc, p, len);
    }
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc32c_sse42(crc, data, len);
    }
#endif
    return ~crc32c_soft(crc, data, len);
}

uint16_t kv_crc16(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint16_t crc = 0;

    while (len-- > 0) {
        crc = (uint16_t)((crc << 4) ^ crc16_nibble[(crc >> 12) ^ (*p >> 4)]);
        crc = (uint16_t)((crc << 4) ^ crc16_nibble[(crc >> 12) ^ (*p & 15)]);
        p++;
    }
    return crc;
}
