"""The installed product: a cluster, the chart on it, a Hub beside it and the inputs on the Hub."""
