# mixtools: Gaussian regressions with constant proportions (it has no softmax gate beyond K = 2).
source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "common.R"))
suppressMessages(library(mixtools))
fits <- lapply(seq_len(K), function(k) lm.fit(cbind(1, X)[labels == k, ], y[labels == k]))
beta <- sapply(fits, function(fit) fit$coefficients)
sigma <- sapply(fits, function(fit) sqrt(mean(fit$residuals^2)))
lambda <- as.numeric(table(labels)) / n
limit <- if (passes > 0) passes else 1000
seconds <- cpu(invisible(capture.output(suppressWarnings(
  fit <- regmixEM(y, X, lambda, beta, sigma, k = K, maxit = limit,
                  epsilon = if (passes > 0) -1 else 1e-8)))))
answer(seconds, length(fit$all.loglik) - 1L, fit$loglik)
