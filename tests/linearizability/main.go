// Says of a history of operations on entities whether it is linearizable, entity by entity, with Porcupine.
//
// Owns what an entity may do (the model) and how a history is written down; `tests/src/linearizability.rs` writes it, and builds and
// runs this. Reads a history as JSON from standard input; ends with 0 when it is linearizable, with 1 and the entities that are not when
// it is not, with 2 when the history cannot be read or is not checked in time.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// Histories of a test are checked in milliseconds; one that takes this long is too wide to be worth checking.
const limit = 60 * time.Second

// An operation as the test saw it. Times are in nanoseconds from any one moment.
type operation struct {
	Client int    `json:"client"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	Entity string `json:"entity"`
	// create, replace, patch, delete, read
	Do string `json:"do"`
	// The version that must be the present one; 0: none need be.
	Base int64 `json:"base"`
	// Of a read: the least version that may be seen.
	AtLeast int64 `json:"atLeast"`
	// What was written, or read.
	Value string `json:"value"`
	// done, exists, absent, stale (the base is not the present version), unknown (no answer: it may have taken place, now or later)
	Outcome string `json:"outcome"`
	// After a write that is done, or read.
	Version int64 `json:"version"`
}

// An entity; the zero value is one that does not exist.
type entity struct {
	exists bool
	// 0 behind a write without an answer: any version.
	version int64
	value   string
}

// step says whether an entity can do this, and what it is then.
func step(before entity, op operation) (bool, entity) {
	fits := op.Base == 0 || before.exists && (before.version == 0 || before.version == op.Base)
	after := entity{true, op.Version, op.Value}
	switch op.Do {
	case "read":
		switch {
		case op.Outcome == "absent":
			return !before.exists, before
		case !before.exists || before.value != op.Value || op.Version < op.AtLeast:
			return false, before
		}
		return before.version == 0 || before.version == op.Version, entity{true, op.Version, op.Value}
	case "create":
		switch op.Outcome {
		case "done":
			return !before.exists, after
		case "exists":
			return before.exists, before
		}
	case "replace", "patch":
		switch op.Outcome {
		case "done":
			possible := fits && (before.exists || op.Do == "replace" && op.Base == 0)
			return possible && op.Version > before.version, after
		case "stale":
			return op.Base != 0 && !(before.exists && before.version == op.Base), before
		case "absent":
			// A replace that is for no version makes what is not there.
			return !before.exists && (op.Do == "patch" || op.Base != 0), before
		}
	case "delete":
		switch op.Outcome {
		case "done":
			return before.exists && fits, entity{}
		case "stale":
			return op.Base != 0 && !(before.exists && before.version == op.Base), before
		case "absent":
			return !before.exists, before
		}
	}
	return false, before
}

// model tries a write without an answer both ways: it took place, or it never will.
func model() porcupine.Model {
	entities := porcupine.NondeterministicModel{
		Partition: partition,
		Init:      func() []interface{} { return []interface{}{entity{}} },
		Step: func(state, input, _ interface{}) []interface{} {
			before, op := state.(entity), input.(operation)
			if op.Outcome != "unknown" {
				if possible, after := step(before, op); possible {
					return []interface{}{after}
				}
				return nil
			}
			op.Outcome, op.Version = "done", before.version+1
			if possible, after := step(before, op); possible {
				after.version = 0
				return []interface{}{before, after}
			}
			return []interface{}{before}
		},
		DescribeOperation: func(input, _ interface{}) string { return fmt.Sprintf("%+v", input) },
		DescribeState:     func(state interface{}) string { return fmt.Sprintf("%+v", state) },
	}
	return entities.ToModel()
}

func partition(history []porcupine.Operation) [][]porcupine.Operation {
	var order []string
	parts := map[string][]porcupine.Operation{}
	for _, found := range history {
		name := found.Input.(operation).Entity
		if _, known := parts[name]; !known {
			order = append(order, name)
		}
		parts[name] = append(parts[name], found)
	}
	var all [][]porcupine.Operation
	for _, name := range order {
		all = append(all, parts[name])
	}
	return all
}

func main() {
	var operations []operation
	if err := json.NewDecoder(os.Stdin).Decode(&operations); err != nil {
		fmt.Fprintln(os.Stderr, "the history cannot be read:", err)
		os.Exit(2)
	}
	var history []porcupine.Operation
	var last int64
	for _, op := range operations {
		last = max(last, op.Call, op.Return)
	}
	for _, op := range operations {
		if op.Outcome == "unknown" {
			op.Return = last + 1
		}
		history = append(history, porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Return: op.Return})
	}
	code := 0
	for _, part := range partition(history) {
		name := part[0].Input.(operation).Entity
		switch result, info := porcupine.CheckOperationsVerbose(model(), part, limit); result {
		case porcupine.Illegal:
			fmt.Printf("%s: not linearizable (%d operations)\n", name, len(part))
			show(name, info)
			code = max(code, 1)
		case porcupine.Unknown:
			fmt.Printf("%s: not checked within %s (%d operations)\n", name, limit, len(part))
			code = 2
		}
	}
	os.Exit(code)
}

// show draws the history of an entity into the folder that the first argument names.
func show(name string, info porcupine.LinearizationInfo) {
	if len(os.Args) < 2 {
		return
	}
	path := fmt.Sprintf("%s/%s.html", os.Args[1], name)
	if err := porcupine.VisualizePath(model(), info, path); err != nil {
		fmt.Println("  it cannot be drawn:", err)
		return
	}
	fmt.Println("  drawn in", path)
}
