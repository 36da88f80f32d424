// Keeps a table of entities from their topic, in Go: franz-go and the CloudEvents SDK. Usage: go run . BROKERS TOPIC
//
// Reads to the end of the topic, prints each record and then the table. A real consumer would go on instead.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type row struct {
	version *big.Int
	entity  map[string]any
}

var table = map[string]row{}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	brokers, topic := strings.Split(os.Args[1], ","), os.Args[2]
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		// No group is joined and no offset kept: the table is in memory and is built from the beginning at each start.
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Without it the records of transactions that were given up would be read too.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// To see how far it is: the marks that end transactions count as offsets, and are hidden otherwise.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		log.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			log.Fatal(errs)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if !record.Attrs.IsControl() {
				take(record)
			}
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		show("table", key, table[key].version, table[key].entity["message"])
	}
}

func take(record *kgo.Record) {
	key := string(record.Key)
	if record.Value == nil {
		// A tombstone: Kafka may forget the key. Its entity was deleted by the record before, or long ago.
		delete(table, key)
		show("tombstone", key)
		return
	}
	event, err := toEvent(record)
	if err != nil {
		log.Fatalf("%s@%d: %v", key, record.Offset, err)
	}
	var entity map[string]any
	if err := json.Unmarshal(event.Data(), &entity); err != nil {
		log.Fatalf("%s@%d: %v", key, record.Offset, err)
	}
	skipped := "-"
	for _, header := range record.Headers {
		if header.Key == "kab_skipped" {
			skipped = string(header.Value)
		}
	}
	show("record", key, event.Type(), event.ID(), event.Source(), event.Subject(), event.Time().Unix(),
		event.DataContentType(), skipped, entity["message"])

	kind := event.Type()[strings.LastIndex(event.Type(), ".")+1:]
	version, ok := new(big.Int).SetString(event.ID()[strings.LastIndex(event.ID(), "/")+1:], 10)
	if !ok {
		log.Fatalf("%s@%d: no version in id %s", key, record.Offset, event.ID())
	}
	known, exists := table[key]
	switch kind {
	case "deleted":
		delete(table, key)
	case "snapshot":
		// As it was met in a list: it counts even if it is older, because the cluster was restored.
		table[key] = row{version, entity}
	case "created", "updated":
		// With delivery: atLeastOnce a record can come again, with the same id.
		if !exists || version.Cmp(known.version) > 0 {
			table[key] = row{version, entity}
		}
	}
}

func show(fields ...any) {
	texts := make([]string, len(fields))
	for index, field := range fields {
		texts[index] = fmt.Sprint(field)
	}
	fmt.Println(strings.Join(texts, "\t"))
}
