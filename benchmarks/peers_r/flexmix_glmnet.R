# flexmix with its glmnet driver: Lasso experts, strengths by glmnet's cross-validation; gate by nnet.
source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "common.R"))
suppressMessages(library(flexmix))
suppressMessages(library(glmnet))
control <- list(iter.max = passes, minprior = 0)
driver <- FLXMRglmnet(family = "gaussian", adaptive = FALSE)
seconds <- cpu(fit <- flexmix(y ~ X, data = data, k = K, cluster = labels, model = driver,
                              control = control))
answer(seconds, as.integer(fit@iter), as.numeric(logLik(fit)))
