// Keeps a table of entities from their topic, in Java: Kafka's own client and the CloudEvents SDK. Usage: java Consume.java BROKERS TOPIC
// Reads to the end of the topic, prints each record and then the table. A real consumer would go on instead.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.CloudEventDeserializer;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Consume {
    record Row(BigInteger version, JsonNode entity) {}

    private static final ObjectMapper JSON = new ObjectMapper();
    private final Map<String, Row> table = new TreeMap<>();

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", arguments[0],
                // Without it the records of transactions that were given up would be read too.
                "isolation.level", "read_committed",
                // The table is in memory, so it is built from the beginning at each start; no offset is kept.
                "enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new CloudEventDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(arguments[1]).stream()
                    .map(info -> new TopicPartition(info.topic(), info.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            var consume = new Consume();
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    consume.take(record);
                }
            }
            consume.table.forEach((key, row) -> print("table", key, row.version, row.entity.path("message").asText()));
        }
    }

    private void take(ConsumerRecord<String, CloudEvent> record) throws Exception {
        CloudEvent event = record.value();
        if (event == null) {
            // A tombstone: Kafka may forget the key. Its entity was deleted by the record before, or long ago.
            table.remove(record.key());
            print("tombstone", record.key());
            return;
        }
        JsonNode entity = JSON.readTree(event.getData().toBytes());
        var skipped = record.headers().lastHeader("kab_skipped");
        print("record", record.key(), event.getType(), event.getId(), event.getSource(), event.getSubject(),
                event.getTime().toEpochSecond(), event.getDataContentType(),
                skipped == null ? "-" : new String(skipped.value(), StandardCharsets.UTF_8),
                entity.path("message").asText());

        String what = event.getType().substring(event.getType().lastIndexOf('.') + 1);
        var version = new BigInteger(event.getId().substring(event.getId().lastIndexOf('/') + 1));
        Row known = table.get(record.key());
        switch (what) {
            case "deleted" -> table.remove(record.key());
            // As it was met in a list: it counts even if it is older, because the cluster was restored.
            case "snapshot" -> table.put(record.key(), new Row(version, entity));
            case "created", "updated" -> {
                // With delivery: atLeastOnce a record can come again, with the same id.
                if (known == null || version.compareTo(known.version) > 0) {
                    table.put(record.key(), new Row(version, entity));
                }
            }
            default -> { }
        }
    }

    private static void print(Object... fields) {
        System.out.println(String.join("\t", java.util.Arrays.stream(fields).map(String::valueOf).toList()));
    }
}
