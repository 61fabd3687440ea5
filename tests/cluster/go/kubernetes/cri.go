package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

const connectionTimeout = 10 * time.Second

// Of each request about images: to remove one of 6 GB takes longer than 10 seconds on a busy disk.
const imagesTimeout = 10 * time.Minute

// askRuntime talks to a node's runtime as a kubelet does, so that both know the same of it:
//
//	cri ready ENDPOINT                 fails until containers can be run
//	cri images ENDPOINT                prints the tags that a kubelet would find, one a line
//	cri sync ENDPOINT PREFIX IMAGE...  gives the store exactly these of the images whose tags begin with PREFIX
func askRuntime(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("cri: too few arguments; give ready, images or sync, and ENDPOINT")
	}
	command, endpoint, rest := arguments[0], arguments[1], arguments[2:]
	var err error
	switch {
	case command == "ready":
		err = checkReady(endpoint)
	case command == "images":
		err = printImages(endpoint)
	case command == "sync" && len(rest) > 0:
		err = syncImages(endpoint, rest[0], rest[1:])
	default:
		return fmt.Errorf("cri %s: no such command, or too few arguments", command)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	return nil
}

func checkReady(endpoint string) error {
	ctx := context.Background()
	service, err := cri.NewRemoteRuntimeService(ctx, endpoint, connectionTimeout, noop.NewTracerProvider(), false)
	if err != nil {
		return err
	}
	answer, err := service.Status(ctx, false)
	if err != nil {
		return err
	}
	for _, condition := range answer.GetStatus().GetConditions() {
		if condition.GetType() == runtime.RuntimeReady && condition.GetStatus() {
			return nil
		}
	}
	return fmt.Errorf("is not ready: %v", answer.GetStatus().GetConditions())
}

func printImages(endpoint string) error {
	ctx := context.Background()
	service, err := connectToImages(ctx, endpoint)
	if err != nil {
		return err
	}
	images, err := service.ListImages(ctx, nil)
	if err != nil {
		return err
	}
	for _, image := range images {
		for _, tag := range image.GetRepoTags() {
			fmt.Println(tag)
		}
	}
	return nil
}

func syncImages(endpoint, prefix string, wanted []string) error {
	ctx := context.Background()
	service, err := connectToImages(ctx, endpoint)
	if err != nil {
		return err
	}
	present, err := service.ListImages(ctx, nil)
	if err != nil {
		return err
	}
	for _, tag := range wanted {
		if !slices.ContainsFunc(present, hasTag(tag)) {
			if _, err := service.PullImage(ctx, &runtime.ImageSpec{Image: tag}, nil, nil); err != nil {
				return fmt.Errorf("%s: %w", tag, err)
			}
		}
	}
	return removeOthers(ctx, service, prefix, wanted)
}

// removeOthers leaves an image that has a wanted tag beside an unwanted one: to remove one tag removes the image.
func removeOthers(ctx context.Context, service internalapi.ImageManagerService, prefix string, wanted []string) error {
	present, err := service.ListImages(ctx, nil)
	if err != nil {
		return err
	}
	for _, image := range present {
		tags := image.GetRepoTags()
		isOurs := slices.ContainsFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) })
		isWanted := slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(wanted, tag) })
		if isOurs && !isWanted {
			if err := service.RemoveImage(ctx, &runtime.ImageSpec{Image: image.GetId()}); err != nil {
				return fmt.Errorf("%s: %w", image.GetId(), err)
			}
		}
	}
	return nil
}

func hasTag(tag string) func(*runtime.Image) bool {
	return func(image *runtime.Image) bool { return slices.Contains(image.GetRepoTags(), tag) }
}

func connectToImages(ctx context.Context, endpoint string) (internalapi.ImageManagerService, error) {
	return cri.NewRemoteImageService(ctx, endpoint, imagesTimeout, noop.NewTracerProvider(), false)
}
