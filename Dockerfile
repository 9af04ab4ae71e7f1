# synthmill on Ray's own image, for KubeRay (deploy/kuberay.yaml), `ray up` (cluster.yaml) and `docker run`:
#   docker build -t synthmill .
#   docker run --shm-size=2g -v "$PWD/store:/store" synthmill synthmill demo --store /store
# With CUDA: Ray's GPU image, and torch from the default index or another one.
#   docker build -t synthmill:gpu --build-arg DEVICE=gpu --build-arg TORCH_INDEX= .
# A test holds Ray's version to constraints.txt: clients and nodes must run the same one.
ARG RAY_VERSION=2.60.0
ARG DEVICE=cpu
FROM rayproject/ray:${RAY_VERSION}-py311-${DEVICE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /home/ray/synthmill
# Requirements before the sources: a change of the code does not download torch again.
COPY --chown=ray:users constraints.txt pyproject.toml ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['tune'], sep='\n')" > /tmp/requirements.txt \
 && pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement /tmp/requirements.txt
COPY --chown=ray:users README.md LICENSE ./
COPY --chown=ray:users platform platform
RUN pip install --no-cache-dir --no-deps . && synthmill --version

WORKDIR /home/ray
CMD ["synthmill", "--help"]
