package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

const connectionTimeout = 10 * time.Second

// syncImages gives a node's store exactly the wanted ones of the images whose names begin with prefix.
//
// It asks the node's runtime as a kubelet does, so both know of the change: `sync-images ENDPOINT PREFIX IMAGE...`.
func syncImages(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("sync-images: too few arguments; give ENDPOINT PREFIX IMAGE...")
	}
	endpoint, prefix, wanted := arguments[0], arguments[1], arguments[2:]
	ctx := context.Background()
	service, err := cri.NewRemoteImageService(ctx, endpoint, connectionTimeout, noop.NewTracerProvider(), false)
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	present, err := service.ListImages(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	tags := []string{}
	for _, image := range present {
		tags = append(tags, image.GetRepoTags()...)
	}
	for _, image := range wanted {
		if !slices.Contains(tags, image) {
			if _, err := service.PullImage(ctx, &runtime.ImageSpec{Image: image}, nil, nil); err != nil {
				return fmt.Errorf("%s: %w", image, err)
			}
		}
	}
	for _, tag := range tags {
		if strings.HasPrefix(tag, prefix) && !slices.Contains(wanted, tag) {
			if err := service.RemoveImage(ctx, &runtime.ImageSpec{Image: tag}); err != nil {
				return fmt.Errorf("%s: %w", tag, err)
			}
		}
	}
	return nil
}
