package dev.caravan.parallel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RendezvousTest {
  private static Map<String, String> variables(String list) {
    Map<String, String> variables = new HashMap<>();
    for (String each : list.split(" ")) {
      variables.put(each.substring(0, each.indexOf('=')), each.substring(each.indexOf('=') + 1));
    }
    return variables;
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "RANK=1 WORLD_SIZE=4 MASTER_ADDR=head MASTER_PORT=1234|torchrun|1|4|head|1234",
        "RANK=0 WORLD_SIZE=2 MASTER_ADDR=head|torchrun|0|2|head|29500",
        "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=3 CARAVAN_RENDEZVOUS=a.b:77|mpirun|2|3|a.b|77",
        "SLURM_PROCID=3 SLURM_NTASKS=8 SLURM_JOB_ID=70123 SLURM_JOB_NODELIST=n[03-07,11],x"
            + "|srun|3|8|n03|30123",
        "SLURM_PROCID=0 SLURM_NTASKS=8 SLURM_JOB_ID=1 SLURM_JOB_NODELIST=gpu7,gpu8|srun|0|8|gpu7|20001"
      })
  void launchersAreUnderstood(
      String variables, String launcher, int rank, int size, String host, int port) {
    assertEquals(
        Optional.of(new Rendezvous(launcher, rank, size, host, port, Optional.empty())),
        Rendezvous.of(variables(variables)));
  }

  @Test
  void aFileMayTellWhere() {
    Rendezvous place =
        Rendezvous.of(variables("RANK=1 WORLD_SIZE=2 CARAVAN_RENDEZVOUS=file:/shared/place"))
            .orElseThrow();
    assertEquals(Optional.of(Path.of("/shared/place")), place.file());
  }

  @ParameterizedTest
  @CsvSource({"HOME=/root", "RANK=0", "RANK=0 WORLD_SIZE=1", "SLURM_NTASKS=4"})
  void oneProcessMeetsNobody(String variables) {
    assertEquals(Optional.empty(), Rendezvous.of(variables(variables)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "RANK=2 WORLD_SIZE=2|RANK=2, WORLD_SIZE=2: needs a rank from 0 below the size",
        "RANK=x WORLD_SIZE=2|RANK=x: needs a whole number",
        "RANK=0 WORLD_SIZE=2|torchrun started 2 processes, but nothing says where they meet",
        "RANK=0 WORLD_SIZE=2 CARAVAN_RENDEZVOUS=here|CARAVAN_RENDEZVOUS=here: needs HOST:PORT"
      })
  void whatIsWrongIsSaid(String variables, String message) {
    UserError error = assertThrows(UserError.class, () -> Rendezvous.of(variables(variables)));
    assertTrue(error.getMessage().startsWith(message), error.getMessage());
  }
}
