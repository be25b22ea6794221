// Command registry is distribution's registry with the one storage driver that a lab uses.
//
// Upstream's main also links the drivers of three cloud providers: two thirds of the build time.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
