"""Keeps a table of entities from their topic, in Python: confluent-kafka and the CloudEvents SDK. Usage: consume.py BROKERS TOPIC

Reads to the end of the topic, prints each record and then the table. A real consumer would go on instead.
"""

import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

table = {}


def take(message):
    key = message.key().decode()
    if message.value() is None:
        # A tombstone: Kafka may forget the key. Its entity was deleted by the record before, or long ago.
        table.pop(key, None)
        print("tombstone", key, sep="\t")
        return
    headers = dict(message.headers() or [])
    event = from_binary_event(KafkaMessage(headers=headers, key=message.key(), value=message.value()))
    entity = event.get_data()
    print(
        "record",
        key,
        event.get_type(),
        event.get_id(),
        event.get_source(),
        event.get_subject(),
        int(event.get_time().timestamp()),
        event.get_datacontenttype(),
        # Not an attribute of CloudEvents, so the SDK does not know it.
        headers.get("kab_skipped", b"-").decode(),
        entity.get("message"),
        sep="\t",
    )

    what = event.get_type().rsplit(".", 1)[1]
    version = int(event.get_id().rsplit("/", 1)[1])
    if what == "deleted":
        table.pop(key, None)
    elif what == "snapshot":
        # As it was met in a list: it counts even if it is older, because the cluster was restored.
        table[key] = (version, entity)
    elif what in ("created", "updated"):
        # With delivery: atLeastOnce a record can come again, with the same id.
        if key not in table or version > table[key][0]:
            table[key] = (version, entity)


def main(brokers, topic):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            # confluent-kafka wants a name; no group is joined and no offset kept, because the table is in memory and is built from the
            # beginning at each start.
            "group.id": "consume-in-python",
            "enable.auto.commit": False,
            # Without it the records of transactions that were given up would be read too. It is this client's default.
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    left = set(partitions)
    while left:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            take(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition())
        elif not message.error().retriable():
            raise KafkaException(message.error())
    consumer.close()
    for key, (version, entity) in sorted(table.items()):
        print("table", key, version, entity.get("message"), sep="\t")


main(*sys.argv[1:])
