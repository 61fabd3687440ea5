// What kstatus says of objects: a list of them as JSON on standard input, a list of states on standard output.
package main

import (
	"encoding/json"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	var objects []unstructured.Unstructured
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		log.Fatal(err)
	}
	states := make([]status.Status, len(objects))
	for i := range objects {
		result, err := status.Compute(&objects[i])
		if err != nil {
			log.Fatal(err)
		}
		states[i] = result.Status
	}
	if err := json.NewEncoder(os.Stdout).Encode(states); err != nil {
		log.Fatal(err)
	}
}
