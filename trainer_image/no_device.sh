#!/bin/sh
# Makes what PyTorch is linked to of NVIDIA's, without NVIDIA: one library under all of their names, in which every
# function answers 100, "there is no CUDA-capable device", or says so where its answer is a text: PyTorch asks for one
# to raise an error that transformers catches. docs/adr/0042 says why.
# Usage: no_device.sh SITE_PACKAGES TARGET; TARGET is to be laid over SITE_PACKAGES.
set -eu
torch=$1/torch/lib
libraries=$2/nvidia/cudnn/lib # the first folder that PyTorch's libraries look into
ours='lib(cu|nv|nccl)[^]]*'
mkdir -p "$libraries"

# FUNCTION or FUNCTION@VERSION, a line for each that is asked for and not there.
readelf --wide --dyn-syms "$torch"/*.so | awk '$7 == "UND" && $8 ~ /^(__)?(cu|nv|nccl)/ {print $8}' | sort -u |
  awk -F@ -v code="$libraries/code.c" -v versions="$libraries/versions" '
    {answer = "int " $1 "(void) { return 100; }"}
    $1 ~ /^(cuda|cudnn|cublas|cusparse|nvrtc|nccl).*(Error|Status)(String|Name)$|^ncclGetLastError$/ {
      answer = "char *" $1 "(void) { return \"no CUDA-capable device is detected\"; }"}
    {print answer > code; version = NF > 1 ? $2 : "NONE"; names[version] = names[version] $1 ";"}
    END {for (version in names) print version " { global: " names[version] " };" > versions}'
cc -shared -s -w -fno-builtin -Wl,--version-script="$libraries/versions" -o "$libraries/libno-device.so" "$libraries/code.c"
rm "$libraries/code.c" "$libraries/versions"

readelf --wide --dynamic "$torch"/*.so | sed -En "s/.*NEEDED.*\[($ours)\]/\1/p" | sort -u |
  while read -r name; do ln -s libno-device.so "$libraries/$name"; done
