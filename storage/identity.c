/* storage/identity.c - who this node is; do its two environments belong together?
 *
 * The identity lies in the log environment; the state environment has a copy of the
 * incarnation alone. A directory is made in the order log (boots 0), state, log (boots
 * 1), so that afterwards each says whether the other one was lost.
 */
#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

static const char identity_key[] = "identity";

static MDB_val key_val(void)
{
    return lmdb_val(kv_bytes_str(identity_key));
}

/* 0; KV_ENOTFOUND; KV_EDAMAGED; others. */
static int identity_read(struct lmdb_env *e, uint32_t dbi, struct lmdb_reader *r,
                         struct store_identity *out)
{
    MDB_val key = key_val();
    MDB_val value;
    int rc = lmdb_read_begin(e, r);

    if (rc != 0) {
        return rc;
    }
    rc = mdb_get(r->txn, e->dbis[dbi], &key, &value);
    if (rc == 0) {
        rc = meta_identity_decode(lmdb_bytes(&value), out);
    }
    lmdb_read_end(r);
    return lmdb_error(rc);
}

static int identity_write(struct lmdb_env *e, uint32_t dbi,
                          const struct store_identity *id)
{
    struct lmdb_demand d = {.pages = 16, .urgent = true};
    uint8_t record[META_IDENTITY_BYTES_MAX];
    MDB_val key = key_val();
    MDB_val value = {meta_identity_encode(id, record), record};
    MDB_txn *txn;
    int rc = lmdb_write_begin(e, &d, &txn);

    if (rc != 0) {
        return rc;
    }
    return lmdb_write_end(e, txn, mdb_put(txn, e->dbis[dbi], &key, &value, 0));
}

int identity_load(struct store *s, struct store_identity *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    int rc = identity_read(&ls->log, LOG_NODE, &ls->log_reader, out);

    return rc == KV_ENOTFOUND ? KV_EDAMAGED : rc; /* Opening has written it. */
}

int identity_save(struct store *s, const struct store_identity *id)
{
    int rc;

    KV_ASSERT(id->incarnation != 0);
    KV_ASSERT(id->boots != 0);
    rc = KV_FAILPOINT(identity_save);
    if (rc == 0) {
        rc = identity_write(&lmdb_store_of(s)->log, LOG_NODE, id);
        (void)KV_FAILPOINT(identity_saved);
    }
    return rc;
}

int identity_open(struct lmdb_store *ls, uint64_t incarnation, const char **out_reason)
{
    struct store_identity id = {0};
    struct store_identity copy = {0};
    int rc = identity_read(&ls->log, LOG_NODE, &ls->log_reader, &id);
    int rc_copy = identity_read(&ls->state, STATE_NODE, &ls->state_reader, &copy);

    if ((rc != 0 && rc != KV_ENOTFOUND) || (rc_copy != 0 && rc_copy != KV_ENOTFOUND)) {
        *out_reason = "the record of the node's identity cannot be read";
        return rc != 0 && rc != KV_ENOTFOUND ? rc : rc_copy;
    }
    if (rc == KV_ENOTFOUND && rc_copy == 0) {
        *out_reason = "the log was lost, the state is still there";
        return KV_ELOST;
    }
    if (rc == 0 && id.boots > 0 && rc_copy == KV_ENOTFOUND) {
        *out_reason = "the state was lost, the log is still there";
        return KV_ELOST;
    }
    if (rc == 0 && rc_copy == 0 && id.incarnation != copy.incarnation) {
        *out_reason = "log and state come from different directories";
        return KV_ELOST;
    }
    if (rc == KV_ENOTFOUND) { /* A new directory. */
        id.incarnation = incarnation == 0 ? 1 : incarnation;
        rc = identity_write(&ls->log, LOG_NODE, &id);
        (void)KV_FAILPOINT(open_identity_log);
    }
    if (rc == 0 && rc_copy == KV_ENOTFOUND) {
        copy.incarnation = id.incarnation;
        rc = identity_write(&ls->state, STATE_NODE, &copy);
        (void)KV_FAILPOINT(open_identity_state);
    }
    if (rc == 0) {
        id.boots++;
        rc = identity_write(&ls->log, LOG_NODE, &id);
        (void)KV_FAILPOINT(open_boot);
    }
    return rc;
}
