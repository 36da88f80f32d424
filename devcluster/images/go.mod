module k8sasbackend.com/devcluster/images

go 1.24
