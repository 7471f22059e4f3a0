// compose-check loads a compose file as `docker compose` would, with the profiles that are named
// after it, and prints the resolved file as JSON. It finds unknown keys, undefined services and
// volumes, bad conditions, durations and ports: see tests/shipped/main.rs.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: compose-check FILE [PROFILE]...")
	}
	options, err := cli.NewProjectOptions(arguments[:1], cli.WithOsEnv, cli.WithDotEnv, cli.WithProfiles(arguments[1:]),
		cli.WithInterpolation(true), cli.WithConsistency(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	resolved, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(resolved)
	return err
}
