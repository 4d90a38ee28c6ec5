/** Model families: configs, weight names, the model functions. */
package dev.caravan.model;
