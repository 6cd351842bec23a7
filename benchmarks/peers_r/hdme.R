# HDME (Huynh and Chamroukhi): Lasso mixture of Gaussian experts, from its own random start.
# Arguments: folder of its sources, then those of common.R with passes = 0, lambda, gamma.
arguments <- commandArgs(trailingOnly = TRUE)
sources <- arguments[1]
folder <- arguments[2]
n <- as.integer(arguments[3])
p <- as.integer(arguments[4])
K <- as.integer(arguments[5])
lambda <- as.numeric(arguments[6])
gamma <- as.numeric(arguments[7])
number <- function(name, count) readBin(file.path(folder, name), "double", count)
y <- number("y.bin", n)
X <- cbind(1, matrix(number("X.bin", n * p), n, p))
suppressMessages(library(foreach))
for (file in list.files(sources, pattern = "[.]R$", full.names = TRUE)) {
  text <- paste(readLines(file, warn = FALSE), collapse = "\n")
  # its cluster of one process an expert costs more than it saves: run in this process
  text <- gsub("parallel::makeCluster(K)", "NULL", text, fixed = TRUE)
  text <- gsub("parallel::parLapply(cl, ", "lapply(", text, fixed = TRUE)
  text <- gsub("parallel::parSapply(cl, ", "sapply(", text, fixed = TRUE)
  text <- gsub("doParallel::registerDoParallel(cl)", "foreach::registerDoSEQ()", text, fixed = TRUE)
  text <- gsub("on.exit(parallel::stopCluster(cl))", "", text, fixed = TRUE)
  try(eval(parse(text = text), envir = globalenv()), silent = TRUE)
}
set.seed(1)
times <- system.time(fit <- GaussRMoE(X, y, K, lambda, gamma))
seconds <- times[["user.self"]] + times[["sys.self"]]
path <- fit$storedloglik
cat(sprintf("ANSWER %.6f %d %.9f\n", seconds, length(path), path[length(path)]))
