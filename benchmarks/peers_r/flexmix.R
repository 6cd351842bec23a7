# flexmix: softmax gate on all columns, Gaussian regressions, from given labels.
source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "common.R"))
suppressMessages(library(flexmix))
control <- if (passes > 0) list(iter.max = passes, tolerance = 0, minprior = 0) else list(minprior = 0)
seconds <- cpu(fit <- flexmix(y ~ X, data = data, k = K, cluster = labels,
                              concomitant = FLXPmultinom(~X), control = control))
answer(seconds, as.integer(fit@iter), as.numeric(logLik(fit)))
