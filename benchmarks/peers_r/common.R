# Reads what benchmarks/whole_fits.py wrote: y.bin, X.bin (n x p, by columns), labels.bin.
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
n <- as.integer(arguments[2])
p <- as.integer(arguments[3])
K <- as.integer(arguments[4])
passes <- as.integer(arguments[5])  # 0: to convergence by the package's own rule
number <- function(name, count) readBin(file.path(folder, name), "double", count)
y <- number("y.bin", n)
X <- matrix(number("X.bin", n * p), n, p)
labels <- as.integer(number("labels.bin", n)) + 1L
data <- data.frame(y = y)
data$X <- X
cpu <- function(expression) {
  times <- system.time(expression)
  times[["user.self"]] + times[["sys.self"]]
}
answer <- function(seconds, passes, loglik) {
  cat(sprintf("ANSWER %.6f %d %.9f\n", seconds, passes, loglik))
}
