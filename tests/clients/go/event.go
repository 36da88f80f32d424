package main

import (
	"bytes"
	"context"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The SDK reads a message of any transport through this interface; it brings one for other Kafka clients, and this is the one for franz-go.
type message struct{ *kgo.Record }

const prefix = "ce_"

var specs = spec.WithPrefix(prefix)

func toEvent(record *kgo.Record) (*event.Event, error) {
	return binding.ToEvent(context.Background(), message{record})
}

func (m message) header(name string) string {
	for _, header := range m.Headers {
		if strings.EqualFold(header.Key, name) {
			return string(header.Value)
		}
	}
	return ""
}

func (m message) ReadEncoding() binding.Encoding {
	if m.header(prefix+"specversion") == "" {
		return binding.EncodingUnknown
	}
	return binding.EncodingBinary
}

func (m message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m message) ReadBinary(ctx context.Context, writer binding.BinaryWriter) error {
	version := specs.Version(m.header(prefix + "specversion"))
	if version == nil {
		return binding.ErrUnknownEncoding
	}
	for _, header := range m.Headers {
		var err error
		name := strings.ToLower(header.Key)
		if name == "content-type" {
			err = writer.SetAttribute(version.AttributeFromKind(spec.DataContentType), string(header.Value))
		} else if attribute := version.Attribute(name); attribute != nil {
			err = writer.SetAttribute(attribute, string(header.Value))
		} else if extension, is := strings.CutPrefix(name, prefix); is {
			err = writer.SetExtension(extension, string(header.Value))
		}
		if err != nil {
			return err
		}
	}
	return writer.SetData(bytes.NewReader(m.Value))
}

func (m message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	version := specs.Version(m.header(prefix + "specversion"))
	if version == nil {
		return nil, nil
	}
	attribute := version.AttributeFromKind(kind)
	name := attribute.PrefixedName()
	if kind == spec.DataContentType {
		name = "content-type"
	}
	return attribute, m.header(name)
}

func (m message) GetExtension(name string) any {
	return m.header(prefix + name)
}
