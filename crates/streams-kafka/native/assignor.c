/*
 * The state-aware assignor, registered with librdkafka.
 *
 * librdkafka has an interface for assignors that it does not publish. This file is compiled against
 * the headers of the very librdkafka that is linked, so that the compiler checks every structure
 * and signature. The decision itself is in Rust: helixstream_assign and helixstream_user_data.
 */
#include "rdkafka_int.h"
#include "rdkafka_assignor.h"
#include "rdkafka_cgrp.h"

#if RD_KAFKA_VERSION != 0x020c01ff
#error "librdkafka has changed: check this file against rdkafka_assignor.c, rdkafka_cgrp.c \
(handle_JoinGroup), rdkafka_request.c (JoinGroupRequest) and rdkafka_sticky_assignor.c"
#endif

/* The assignor that every release offers, and that a group with an earlier release uses. */
#define STICKY "cooperative-sticky"

/* A member, as the leader of the group knows it. */
struct helixstream_member {
        const char *id;
        size_t id_size;
        const void *user_data;
        size_t user_data_size;
        const rd_kafka_topic_partition_list_t *subscription;
        /* NULL where it has none. */
        const rd_kafka_topic_partition_list_t *owned;
        int generation;
        rd_kafka_topic_partition_list_t *assignment;
};

/* A topic that a member subscribes to. */
struct helixstream_topic {
        const char *name;
        int partitions;
};

/* What this member tells the leader: a block of malloc, or NULL. */
extern void *helixstream_user_data(void *opaque, size_t *size);

/* Decides, and adds to the members' assignments. 0, or -1 where it could not decide. */
extern int helixstream_assign(void *opaque,
                              const struct helixstream_member *members,
                              size_t member_cnt,
                              const struct helixstream_topic *topics,
                              size_t topic_cnt);

static rd_kafkap_bytes_t *
get_metadata(const rd_kafka_assignor_t *rkas,
             void *assignor_state,
             const rd_list_t *topics,
             const rd_kafka_topic_partition_list_t *owned_partitions,
             const rd_kafkap_str_t *rack_id) {
        rd_kafka_t *rk = rkas->rkas_opaque;
        size_t size    = 0;
        void *data     = helixstream_user_data(rd_kafka_opaque(rk), &size);
        rd_kafkap_bytes_t *metadata;

        (void)assignor_state;
        /* The generation in which the owned partitions were assigned, or a later one that has not
         * assigned any: a member that misses a generation loses what it owns. */
        metadata = rd_kafka_consumer_protocol_member_metadata_new(
            topics, data, size, owned_partitions,
            rk->rk_cgrp->rkcg_generation_id, rack_id);
        free(data);
        return metadata;
}

static rd_kafka_resp_err_t assign(rd_kafka_t *rk,
                                  const struct rd_kafka_assignor_s *rkas,
                                  const char *member_id,
                                  const rd_kafka_metadata_t *metadata,
                                  rd_kafka_group_member_t *members,
                                  size_t member_cnt,
                                  rd_kafka_assignor_topic_t **topics,
                                  size_t topic_cnt,
                                  char *errstr,
                                  size_t errstr_size,
                                  void *opaque) {
        /* One more than needed, so that none of no elements is asked for. */
        struct helixstream_member *all = rd_calloc(member_cnt + 1, sizeof(*all));
        struct helixstream_topic *known = rd_calloc(topic_cnt + 1, sizeof(*known));
        size_t i;
        int failed;

        (void)rkas, (void)opaque;
        for (i = 0; i < member_cnt; i++) {
                rd_kafka_group_member_t *member = &members[i];

                all[i].id           = member->rkgm_member_id->str;
                all[i].id_size      = RD_KAFKAP_STR_LEN(member->rkgm_member_id);
                all[i].subscription = member->rkgm_subscription;
                all[i].owned        = member->rkgm_owned;
                all[i].generation   = member->rkgm_generation;
                all[i].assignment   = member->rkgm_assignment;
                if (member->rkgm_userdata) {
                        all[i].user_data      = member->rkgm_userdata->data;
                        all[i].user_data_size = RD_KAFKAP_BYTES_LEN(member->rkgm_userdata);
                }
                rd_kafka_topic_partition_list_clear(member->rkgm_assignment);
        }
        for (i = 0; i < topic_cnt; i++) {
                known[i].name       = topics[i]->metadata->topic;
                known[i].partitions = topics[i]->metadata->partition_cnt;
        }
        failed = helixstream_assign(rd_kafka_opaque(rk), all, member_cnt, known, topic_cnt);
        rd_free(known);
        rd_free(all);
        if (failed) {
                /* An error here has all members join again, and fail again: the group would stand
                 * still. The sticky assignor reads the owned partitions alone, and replaces what
                 * is in the assignments. */
                rd_kafka_assignor_t *sticky = rd_kafka_assignor_find(rk, STICKY);

                return sticky->rkas_assign_cb(rk, sticky, member_id, metadata, members, member_cnt,
                                              topics, topic_cnt, errstr, errstr_size,
                                              sticky->rkas_opaque);
        }
        return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static int by_index(const void *a, const void *b) {
        const rd_kafka_assignor_t *left = a, *right = b;
        return RD_CMP(left->rkas_index, right->rkas_index);
}

/*
 * Has a consumer that has not subscribed yet offer the assignor, before the sticky one: the group's
 * coordinator takes one that all members offer.
 *
 * The sticky assignor's functions keep the state, since librdkafka hands one state to all enabled
 * assignors when it joins.
 */
rd_kafka_resp_err_t helixstream_offer_assignor(rd_kafka_t *rk, const char *name) {
        rd_list_t *assignors        = &rk->rk_conf.partition_assignors;
        rd_kafka_assignor_t *sticky = rd_kafka_assignor_find(rk, STICKY);
        rd_kafka_assignor_t *ours;
        rd_kafka_resp_err_t err;

        if (!rk->rk_cgrp || !sticky || !sticky->rkas_enabled)
                return RD_KAFKA_RESP_ERR__UNKNOWN_PROTOCOL;
        err = rd_kafka_assignor_add(
            rk, "consumer", name, RD_KAFKA_REBALANCE_PROTOCOL_COOPERATIVE, assign, get_metadata,
            sticky->rkas_on_assignment_cb, sticky->rkas_destroy_state_cb, NULL, rk);
        if (err)
                return err;
        ours               = rd_kafka_assignor_find(rk, name);
        ours->rkas_enabled = 1;
        ours->rkas_index   = -1;
        rk->rk_conf.enabled_assignor_cnt++;
        rd_list_sort(assignors, by_index);
        /* As rd_kafka_assignors_init: it is sorted by the index, and searched by the name. */
        assignors->rl_flags &= ~RD_LIST_F_SORTED;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
}
