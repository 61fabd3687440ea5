// Command volumes makes a folder of the machine for every claim of its storage class, and removes it with the claim.
//
// Every node of the test cluster runs on one machine, so a host path is truly shared between nodes: ReadWriteMany
// and ReadWriteOnce both hold. Kubernetes' own host path provisioner makes folders that only root may write to;
// these are writable by any user, because fsGroup does not apply to host paths.
package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const provisionerName = "finetune-operator.test/shared-folder"

type sharedFolders struct {
	root string
}

func (folders sharedFolders) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(folders.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // MkdirAll is subject to the umask
		return nil, controller.ProvisioningFinished, err
	}
	folder := core.HostPathDirectory
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity: core.ResourceList{
				core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage],
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: path, Type: &folder},
			},
		},
	}, controller.ProvisioningFinished, nil
}

func (folders sharedFolders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	return os.RemoveAll(filepath.Join(folders.root, volume.Name))
}

func main() {
	root := flag.String("root", "", "folder that holds one folder per volume")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatalf("kubeconfig: %v", err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	ctx := context.Background()
	provisioner := controller.NewProvisionController(
		ctx, client, provisionerName, sharedFolders{root: *root}, controller.LeaderElection(false),
	)
	provisioner.Run(ctx)
}
