/* raft/base/crc.h - CRC32C for records and frames, CRC16 for slots.
 *
 * CRC32C (Castagnoli, RFC 3720 appendix B.4) guards every stored record and every
 * peer frame; it uses the SSE4.2 instruction where the processor has it. CRC16 is
 * XMODEM's (polynomial 0x1021, start 0), which Redis Cluster uses for slots.
 */
#ifndef KV_RAFT_BASE_CRC_H
#define KV_RAFT_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* CRC32C of `len` bytes, continuing from `crc` (0 to start). */
uint32_t kv_crc32c(uint32_t crc, const void *data, size_t len);

/* CRC16/XMODEM of `len` bytes. */
uint16_t kv_crc16(const void *data, size_t len);

#endif
