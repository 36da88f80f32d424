// Command run is the entrypoint of the Kafka test image: one broker behind the outward contract of the apache/kafka image
// (KAFKA_… variables become properties, CLUSTER_ID names the cluster, the storage is formatted at the first start, the log
// goes to the standard output). It replaces itself by the broker and never runs outside of its container.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"sort"
	"strings"
	"syscall"
)

const (
	java       = "/opt/java/bin/java"
	classPath  = "/opt/kafka/libs/*"
	properties = "/opt/kafka/config/server.properties"
	logging    = "-Dlog4j2.configurationFile=/opt/kafka/config/log4j2.xml"
)

// Variables for the JVM and its launcher, which are no property of the broker.
var notProperties = map[string]bool{
	"KAFKA_HEAP_OPTS": true, "KAFKA_OPTS": true, "KAFKA_JVM_PERFORMANCE_OPTS": true, "KAFKA_GC_LOG_OPTS": true,
	"KAFKA_LOG4J_OPTS": true, "KAFKA_JMX_OPTS": true, "KAFKA_JMX_HOSTNAME": true, "KAFKA_VERSION": true,
}

func main() {
	cluster := os.Getenv("CLUSTER_ID")
	if cluster == "" {
		log.Fatal("CLUSTER_ID is not set")
	}
	content := serverProperties(os.Environ())
	if err := os.WriteFile(properties, []byte(content), 0o644); err != nil {
		log.Fatal(err)
	}
	format := exec.Command(java, "-XX:TieredStopAtLevel=1", logging, "-cp", classPath,
		"kafka.tools.StorageTool", "format", "--ignore-formatted", "--cluster-id", cluster, "--config", properties)
	format.Stdout, format.Stderr = os.Stdout, os.Stderr
	if err := format.Run(); err != nil {
		log.Fatalf("failed to format the storage: %v; the properties were:\n%s", err, content)
	}
	arguments := []string{java}
	arguments = append(arguments, strings.Fields(os.Getenv("KAFKA_HEAP_OPTS"))...)
	arguments = append(arguments, strings.Fields(os.Getenv("KAFKA_JVM_PERFORMANCE_OPTS"))...)
	arguments = append(arguments, strings.Fields(os.Getenv("KAFKA_OPTS"))...)
	arguments = append(arguments, logging, "-cp", classPath, "kafka.Kafka", properties)
	log.Fatal(syscall.Exec(java, arguments, os.Environ()))
}

// serverProperties translates as the apache/kafka image does: after the prefix, three underscores are a dash, two are an
// underscore, one is a dot.
func serverProperties(environment []string) string {
	var lines []string
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		rest, found := strings.CutPrefix(name, "KAFKA_")
		if !found || notProperties[name] {
			continue
		}
		key := strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(strings.ToLower(rest))
		lines = append(lines, fmt.Sprintf("%s=%s\n", key, value))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}
